// The C interface inside other programs: after a fork, in the host's own OpenMP regions, and twice in one process.

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "tests/models/retrieval/c_api/c_fixtures.h"

using namespace tt;
using testing::ids_of;
using testing::user_of;

namespace {

// Enough items that a search is cut into chunks.
testing::Written many_items() { return testing::Written(testing::c_config("kd", 12, 20000)); }

std::vector<std::string> asked(tt_session* session) {
  const tt_user user = user_of("u9");
  const tt_results* top = nullptr;
  if (tt_recommend(session, &user, 1, 10, nullptr, &top) != TT_OK) return {tt_last_error()};
  return ids_of(top);
}

}  // namespace

TEST_CASE("hosts: a parent with threads forks, and the child searches") {
  const testing::Written w = many_items();
  const testing::Open c(w.path, 2);
  const std::vector<std::string> right = asked(c.session);  // and there is a team now
  REQUIRE(right.size() == 10);
  std::atomic<bool> stop{false};
  std::atomic<int> running{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      tt_session* own = nullptr;
      const tt_session_options two = {sizeof two, 2, 0};
      if (tt_session_open(c.model, &two, &own) == TT_OK)
        for (asked(own), ++running; !stop;) asked(own);
      tt_session_close(own);
    });
  while (running < 2) std::this_thread::yield();
  for (int round = 0; round < 8; ++round) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      alarm(60);  // a child that waits for threads that are gone ends here
      tt_session* session = nullptr;
      const tt_session_options two = {sizeof two, 2, 0};
      bool good = asked(c.session) == right;
      good = good && tt_session_open(c.model, &two, &session) == TT_OK && asked(session) == right;
      const char* const ids[] = {right[0].c_str()};
      good = good && tt_model_remove_items(c.model, ids, 1) == TT_OK && asked(session) != right;
      _exit(good ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(asked(c.session) == right);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("hosts: a child of fork() finds no lock of a thread that only looked") {
  const testing::Written w(testing::c_config("base"));
  const testing::Open c(w.path);
  const auto look = [&] {
    tt_info info = {};
    info.struct_size = sizeof info;
    return tt_model_info(c.model, &info) == TT_OK && info.items == 40;
  };
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      while (!stop) wrong += !look();
    });
  for (int round = 0; round < 200; ++round) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      alarm(10);  // a child that waits for threads that are gone ends here
      _exit(look() ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    wrong += status != 0;
    if (wrong > 0) break;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("hosts: calls from inside the host's own OpenMP region") {
  const testing::Written w = many_items();
  const testing::Open c(w.path);
  const std::vector<std::string> right = asked(c.session);
  REQUIRE(right.size() == 10);
  int wrong = 0, calls = 0;
#pragma omp parallel num_threads(4) reduction(+ : wrong, calls)
  {
    tt_session* session = nullptr;
    const tt_session_options two = {sizeof two, 2, 0};
    wrong += tt_session_open(c.model, &two, &session) != TT_OK;
    for (int i = 0; i < 5; ++i, ++calls) wrong += asked(session) != right;
    wrong += tt_session_close(session) != TT_OK;
  }
  CHECK(wrong == 0);
  CHECK(calls == 20);
}

TEST_CASE("hosts: two copies of the library in one process") {
  const testing::Written w = many_items();
  const testing::Open c(w.path, 2);
  const std::vector<std::string> right = asked(c.session);
  struct Copy {
    void* handle = nullptr;
    decltype(&tt_model_open) open = nullptr;
    decltype(&tt_model_close) close = nullptr;
    decltype(&tt_session_open) open_session = nullptr;
    decltype(&tt_session_close) close_session = nullptr;
    decltype(&tt_recommend) recommend = nullptr;
    decltype(&tt_last_error) last_error = nullptr;
    int wrong = 0;
  } copies[2];
  for (int i = 0; i < 2; ++i) {
    Copy& copy = copies[i];
    const std::string path = w.folder.path() + "/copy" + std::to_string(i) + ".so";
    std::filesystem::copy_file(TWOTOWER_C_LIB, path);
    copy.handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    REQUIRE_MESSAGE(copy.handle, dlerror());
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(copy.handle, name));
      REQUIRE((function != nullptr));
    };
    find(copy.open, "tt_model_open"), find(copy.close, "tt_model_close");
    find(copy.open_session, "tt_session_open"), find(copy.close_session, "tt_session_close");
    find(copy.recommend, "tt_recommend"), find(copy.last_error, "tt_last_error");
  }
  CHECK((copies[0].open != copies[1].open));
  std::vector<std::thread> threads;
  for (Copy& copy : copies)
    threads.emplace_back([&] {
      tt_model* model = nullptr;
      tt_session* session = nullptr;
      const tt_session_options two = {sizeof two, 2, 0};
      copy.wrong += copy.open(w.path.c_str(), nullptr, &model) != TT_OK;
      copy.wrong += copy.open_session(model, &two, &session) != TT_OK;
      const tt_user user = user_of("u9"), nobody = user_of("nobody");
      const tt_results* top = nullptr;
      for (int i = 0; i < 20; ++i) {
        copy.wrong += copy.recommend(session, &user, 1, 10, nullptr, &top) != TT_OK || ids_of(top) != right;
        copy.wrong += copy.recommend(session, &nobody, 1, 10, nullptr, &top) != TT_ERROR_NOT_FOUND;
        copy.wrong += std::string(copy.last_error()).find("nobody") == std::string::npos;
      }
      copy.wrong += copy.close_session(session) != TT_OK || copy.close(model) != TT_OK;
    });
  for (int i = 0; i < 20; ++i) CHECK(asked(c.session) == right);
  for (std::thread& thread : threads) thread.join();
  for (Copy& copy : copies) {
    CHECK(copy.wrong == 0);
    CHECK(dlclose(copy.handle) == 0);
  }
  CHECK(asked(c.session) == right);
}
