#pragma once
// Files that appear whole or not at all: written under a temporary name in the same folder, synced to the
// disk, then renamed. Whatever goes wrong, the temporary file is removed and the old file is untouched. A symbolic link
// stays one: what it points to is written. What is there and no regular file (a device, a pipe, a folder) is refused.

#include <cstddef>
#include <string>
#include <string_view>

namespace tt {

class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);  // Error for no regular file, a folder missing or not writable
  ~AtomicFile();                                 // removes the temporary file unless committed
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t bytes);  // Error on the first byte that does not fit
  void commit();

 private:
  friend void commit_together(AtomicFile& file, AtomicFile& beside);
  void save();    // all but the name
  void rename();  // and the name
  [[noreturn]] void give_up(const char* doing);
  std::string path_, target_, temporary_;  // as given, and behind symbolic links
  int fd_ = -1;
};

// Two files that are of no use without each other: both are whole on the disk before either has its name, and an older
// `beside` is gone before `file` is replaced. Whatever happens, one never stands beside an older other.
void commit_together(AtomicFile& file, AtomicFile& beside);

// A name that no file beside `path` has, for what is needed for a while; what was written there is gone at the end.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& path);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void write_file_atomically(const std::string& path, std::string_view text);
std::string read_whole_file(const std::string& path);  // Error when it cannot be read

}  // namespace tt
