#pragma once
// Runs the built program as a user does: arguments in, exit status and what it printed out.

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <twotower/tensor/files/atomic_file.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/train/fixtures.h"

namespace tt::testing {

struct Outcome {
  int status = -1;  // of exit; -1: ended by a signal
  std::string out, err;
  nlohmann::json json() const { return nlohmann::json::parse(out, nullptr, /*allow_exceptions=*/false); }
};

using Arguments = std::vector<std::string>;

// `folder` becomes the program's own, so that arguments and messages have short paths. A program that hangs
// is ended.
inline Outcome run_program(const std::string& folder, const Arguments& arguments) {
  const std::string out = folder + "/stdout.txt", err = folder + "/stderr.txt";
  std::vector<char*> argv = {const_cast<char*>("twotower")};
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    const auto redirect = [](const std::string& path, int to) {
      const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      if (fd < 0 || dup2(fd, to) < 0) _exit(99);
    };
    redirect(out, STDOUT_FILENO);
    redirect(err, STDERR_FILENO);
    if (chdir(folder.c_str()) != 0) _exit(99);
    setenv("OMP_NUM_THREADS", "1", 1);  // tiny models are fastest on one
    alarm(120);
    execv(TWOTOWER_PROGRAM, argv.data());
    _exit(99);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_whole_file(out), read_whole_file(err)};
}

// The message of a mistake: "" unless the program ended with status 2, printed one line beginning with its
// place in brackets on standard error, and nothing on standard output.
inline std::string mistake_of(const Outcome& outcome) {
  const std::string& err = outcome.err;
  const bool good = outcome.status == 2 && outcome.out.empty() && err.size() > 1 && err[0] == '[' &&
                    err.find(']') != std::string::npos && std::count(err.begin(), err.end(), '\n') == 1 &&
                    err.back() == '\n';
  return good ? err.substr(0, err.size() - 1) : "";
}

}  // namespace tt::testing
