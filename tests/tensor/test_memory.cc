// The two allocators: alignment, growth, reuse, and what they leave behind when there is no memory.

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/memory.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/error_of.h"

using namespace tt;

namespace {

bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % kAlignment == 0; }

// Pieces of all sizes, several MB in all; each is filled, so that two that overlap are found.
std::vector<std::byte*> round_of(Arena& arena) {
  std::vector<std::pair<std::byte*, std::size_t>> pieces;
  for (int i = 0; i < 60; ++i) {
    const std::size_t size = i % 7 == 0 ? 200000 : static_cast<std::size_t>(i) * 31;
    pieces.emplace_back(arena.raw(size), size);
    std::memset(pieces.back().first, i, size);
  }
  std::vector<std::byte*> starts;
  for (size_t i = 0; i < pieces.size(); ++i) {
    CHECK(aligned(pieces[i].first));
    for (size_t b = 0; b < pieces[i].second; b += 97) CHECK(pieces[i].first[b] == static_cast<std::byte>(i));
    starts.push_back(pieces[i].first);
  }
  return starts;
}

}  // namespace

TEST_CASE("a block is aligned, zeroed and moves without copying") {
  AlignedBlock block(1000);
  CHECK(aligned(block.data()));
  CHECK(block.size() >= 1000);
  for (std::size_t i = 0; i < 1000; ++i) REQUIRE(block.data()[i] == std::byte{0});
  std::byte* const at = block.data();
  AlignedBlock other(std::move(block));
  CHECK(other.data() == at);
  CHECK(block.data() == nullptr);
  CHECK(AlignedBlock(0).data() == nullptr);
}

TEST_CASE("a pool's pieces are zeroed, aligned and stay where they are") {
  Pool pool;
  float* first = pool.allocate<float>(5);
  first[0] = 3;
  for (int64_t n = 0; n < 50; ++n) {
    const double* p = pool.allocate<double>(n);
    CHECK(aligned(p));
    for (int64_t i = 0; i < n; ++i) CHECK(p[i] == 0);
  }
  CHECK(first[0] == 3);
  CHECK(pool.bytes() >= 50 * 49 / 2 * sizeof(double));
}

TEST_CASE("sizes that no memory could hold are refused before they wrap round") {
  Pool pool;
  Arena arena;
  const std::string refusal = " elements of 8 bytes cannot be had; the sizes asked for are too large";
  for (const int64_t n : {INT64_MAX, int64_t{1} << 61, int64_t{-1}}) {
    CHECK(error_of([&] { pool.allocate<double>(n); }) == "[memory] " + std::to_string(n) + refusal);
    CHECK(error_of([&] { arena.allocate<double>(n); }) == "[memory] " + std::to_string(n) + refusal);
  }
  CHECK(error_of([&] { pool.allocate<char>(int64_t{1} << 60); }).find("no memory for a block of") != std::string::npos);
  CHECK(pool.bytes() == 0);
  CHECK(arena.used_bytes() == 0);
  CHECK(arena.peak_bytes() == 0);
}

TEST_CASE("an arena grows, and from the second equal round on hands out the same block") {
  Arena arena;
  round_of(arena);
  const std::size_t used = arena.used_bytes();
  CHECK(used > std::size_t{1} << 20);
  CHECK(arena.peak_bytes() == used);
  arena.reset();
  CHECK(arena.used_bytes() == 0);
  CHECK(arena.peak_bytes() == used);
  const std::vector<std::byte*> second = round_of(arena);
  CHECK(static_cast<std::size_t>(second.back() - second.front()) < used);  // one block holds all
  for (int round = 0; round < 3; ++round) {
    arena.reset();
    CHECK(round_of(arena) == second);
    CHECK(arena.used_bytes() == used);
  }
  arena.reset();
  arena.allocate<float>(1);  // a smaller round keeps the block
  arena.reset();
  CHECK(round_of(arena) == second);
}

TEST_CASE("an arena that is refused memory is as before") {
  Arena arena;
  auto* first = arena.allocate<int>(3);
  first[2] = 5;
  const std::size_t used = arena.used_bytes();
  CHECK(error_of([&] { arena.allocate<char>(int64_t{1} << 60); }).find("no memory for a block of") !=
        std::string::npos);
  CHECK(arena.used_bytes() == used);
  CHECK(arena.peak_bytes() == used);
  CHECK(arena.raw(1) == reinterpret_cast<std::byte*>(first) + kAlignment);
  CHECK(first[2] == 5);
  arena.reset();
  CHECK(arena.raw(1) != nullptr);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // their shadow memory counts, too
TEST_CASE("an arena whose one block cannot be had is left empty and valid") {
  const pid_t child = fork();
  if (child == 0) {  // the limit on its memory is the child's alone
    int result = 1;
    try {
      Arena arena;
      for (int i = 0; i < 32; ++i) arena.allocate<char>(4 << 20);  // 128 MB in pieces that grow
      const std::size_t peak = arena.peak_bytes();
      long pages = 0;
      std::ifstream("/proc/self/statm") >> pages;
      const auto held = static_cast<rlim_t>(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
      const rlimit limit{held - 2 * peak + (32 << 20), held};  // the pieces hold more than twice the peak
      if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(9);
      arena.reset();
      result = 2;
      if (arena.used_bytes() != 0) _exit(3);
      auto* p = arena.allocate<int>(1000);  // little is still to be had
      std::memset(p, 1, 4000);
      result = 4;
      if (error_of([&] { arena.allocate<char>(static_cast<int64_t>(peak)); }).find("no memory") == std::string::npos)
        _exit(5);
      if (p[999] != 0x01010101 || arena.used_bytes() != 4032) _exit(6);
      arena.reset();
      result = arena.raw(64) != nullptr ? 0 : 7;
    } catch (...) {
    }
    _exit(result);
  }
  REQUIRE(child > 0);
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
#endif
