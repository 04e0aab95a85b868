#include <fcntl.h>
#include <sys/stat.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/files/atomic_file.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace tt {

namespace {

// The mend depends on what the system said.
const char* advice(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "free some space on that disk or choose another folder";
    case EFBIG:
      return "the file size limit (ulimit -f) is too small for it";
    case EACCES:
    case EPERM:
    case EROFS:
      return "choose a folder you may write to";
    case ENOENT:
    case ENOTDIR:
      return "make its folder first, or choose another";
    case ELOOP:
      return "remove that link, which leads back to itself, or choose another name";
    default:
      return "check the disk";
  }
}

// The file that `path` names, through symbolic links; it need not be there yet.
std::string behind_links(const std::string& path) {
  namespace fs = std::filesystem;
  check(!path.empty(), "file", "the name of the file to write is empty; give one");
  struct stat found {};
  const bool exists = ::stat(path.c_str(), &found) == 0;
  if (!exists && errno == ELOOP) fail(path, "cannot be created: ", std::strerror(ELOOP), "; ", advice(ELOOP));
  std::error_code none;
  fs::path at = path;
  for (fs::path next = fs::read_symlink(at, none); !none; next = fs::read_symlink(at, none))
    at = at.parent_path() / next;
  // A file that was opened and then deleted still has a link in /proc, but no name to write to.
  check(!exists || (S_ISREG(found.st_mode) && fs::equivalent(path, at, none)), path,
        "is no regular file; give the name of a file");
  return at.string();
}

// A name beside `target` that nothing else of this program or of another one uses.
std::string name_beside(const std::string& target) {
  static std::atomic<unsigned> counter{0};
  return target + ".tmp-" + std::to_string(getpid()) + "-" + std::to_string(counter++);
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path) : path_(path), target_(behind_links(path)) {
  temporary_ = name_beside(target_);
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) {
    const int error = errno;
    temporary_.clear();
    fail(path_, "cannot be created: ", std::strerror(error), "; ", advice(error));
  }
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::give_up(const char* doing) {
  const int error = errno;
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  ::unlink(temporary_.c_str());
  temporary_.clear();
  fail(path_, doing, " failed: ", std::strerror(error), "; nothing was written, ", advice(error));
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t wrote = ::write(fd_, at, bytes < (1u << 30) ? bytes : (1u << 30));
    if (wrote < 0) {
      if (errno == EINTR) continue;
      give_up("writing");
    }
    at += wrote;
    bytes -= static_cast<std::size_t>(wrote);
  }
}

void AtomicFile::commit() { save(), rename(); }

void AtomicFile::save() {
  // A full disk may show only here, so each of the three is checked before the name changes hands.
  if (::fsync(fd_) != 0 && errno != EINVAL) give_up("saving");  // EINVAL: a file system that cannot sync
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) give_up("closing");
}

void AtomicFile::rename() {
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) give_up("renaming");
  temporary_.clear();
  // Make the new name last, too; where the folder cannot be synced the file itself is safe.
  std::string folder = std::filesystem::path(target_).parent_path().string();
  if (folder.empty()) folder = ".";
  const int dir = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir >= 0) ::fsync(dir), ::close(dir);
}

void commit_together(AtomicFile& file, AtomicFile& beside) {
  file.save(), beside.save();
  if (::unlink(beside.target_.c_str()) != 0 && errno != ENOENT) beside.give_up("replacing");
  file.rename(), beside.rename();
}

TemporaryFile::TemporaryFile(const std::string& path) : path_(name_beside(behind_links(path))) {}

TemporaryFile::~TemporaryFile() { ::unlink(path_.c_str()); }

void write_file_atomically(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

std::string read_whole_file(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) fail(path, "cannot be opened: ", std::strerror(errno), "; check the path");
  std::string text;
  char buffer[1 << 16];
  std::size_t got;
  while ((got = std::fread(buffer, 1, sizeof buffer, file)) > 0) text.append(buffer, got);
  const bool failed = std::ferror(file) != 0;
  const int error = errno;
  std::fclose(file);
  if (failed) fail(path, "cannot be read: ", std::strerror(error), "; check that it is a file");
  return text;
}

}  // namespace tt
