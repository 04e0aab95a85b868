// Files that appear whole or not at all: what is written to, and what is refused before anything is written.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <twotower/tensor/files/atomic_file.h>
#include <unistd.h>

#include <filesystem>

#include "tests/train/fixtures.h"

using namespace tt;
namespace fs = std::filesystem;

namespace {

std::string refusal(const std::string& path) {
  return error_of([&] { write_file_atomically(path, "new"); }, path);
}

int64_t files_in(const std::string& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

}  // namespace

TEST_CASE("atomic file: through symbolic links to a file, there or not yet; the links stay") {
  const TempFolder folder;
  const std::string& at = folder.path();
  fs::create_directory(at + "/far");
  folder.file("far/there", "old");
  fs::create_symlink("far/there", at + "/relative");
  fs::create_symlink(at + "/relative", at + "/twice");
  fs::create_symlink("far/new", at + "/dangling");
  for (const char* link : {"/relative", "/twice", "/dangling"}) {
    INFO(link);
    write_file_atomically(at + link, link);
    CHECK(fs::is_symlink(at + link));
    CHECK(read_whole_file(at + link) == link);
  }
  CHECK(read_whole_file(at + "/far/there") == "/twice");
  CHECK(!fs::is_symlink(at + "/far/there"));
  CHECK(read_whole_file(at + "/far/new") == "/dangling");
  CHECK(files_in(at) == 4);
  CHECK(files_in(at + "/far") == 2);

  fs::create_symlink("none/new", at + "/nowhere");
  CHECK(refusal(at + "/nowhere") ==
        "[FILE] cannot be created: No such file or directory; make its folder first, or choose another");
  fs::create_symlink("ring", at + "/ring");
  CHECK(refusal(at + "/ring") ==
        "[FILE] cannot be created: Too many levels of symbolic links; remove that link, which leads back to itself, or "
        "choose another name");
}

TEST_CASE("atomic file: what is no regular file is refused and stays what it is") {
  const TempFolder folder;
  const std::string& at = folder.path();
  REQUIRE(mkfifo((at + "/fifo").c_str(), 0600) == 0);
  fs::create_directory(at + "/folder");
  fs::create_symlink("fifo", at + "/to-fifo");
  fs::create_symlink("/dev/full", at + "/to-device");  // a link of ours, so that no device is at risk
  // As /dev/stdout leads to a pipe, and to a file without a name.
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  fs::create_symlink("/proc/self/fd/" + std::to_string(ends[1]), at + "/to-pipe");
  const int deleted = ::open(folder.file("deleted", "").c_str(), O_WRONLY);
  REQUIRE(deleted >= 0);
  fs::remove(at + "/deleted");
  fs::create_symlink("/proc/self/fd/" + std::to_string(deleted), at + "/to-deleted");
  for (const char* name : {"/fifo", "/folder", "/to-fifo", "/to-device", "/to-pipe", "/to-deleted"}) {
    INFO(name);
    const fs::file_type before = fs::symlink_status(at + name).type();
    CHECK(refusal(at + name) == "[FILE] is no regular file; give the name of a file");
    CHECK(fs::symlink_status(at + name).type() == before);
  }
  CHECK(files_in(at) == 6);
  CHECK(fs::is_character_file("/dev/full"));
  ::close(ends[0]), ::close(ends[1]), ::close(deleted);
}

TEST_CASE("temporary file: a name of its own beside the other, gone at the end") {
  const TempFolder folder;
  const std::string at = folder.path() + "/bundle";
  write_file_atomically(at, "kept");
  {
    const TemporaryFile one(at), two(at);
    CHECK(one.path() != two.path());
    CHECK(fs::path(one.path()).parent_path() == folder.path());
    write_file_atomically(one.path(), "for a while");
    CHECK(files_in(folder.path()) == 2);
  }
  CHECK(files_in(folder.path()) == 1);
  CHECK(read_whole_file(at) == "kept");
}
