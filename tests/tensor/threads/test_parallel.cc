// Threads: work is cut by its size alone, exceptions cross, and every way a host program may call in works.

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/gemm.h>
#include <twotower/tensor/kernels/topk/topk.h>
#include <twotower/tensor/threads/parallel.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/error_of.h"

#ifdef _OPENMP
#include <omp.h>
#endif

using namespace tt;

namespace {

using Chunks = std::vector<std::pair<int64_t, int64_t>>;

Chunks chunks_of(int64_t begin, int64_t end, int64_t grain) {
  Chunks chunks;
  std::mutex lock;
  parallel_for(begin, end, grain, [&](int64_t lo, int64_t hi) {
    const std::lock_guard<std::mutex> hold(lock);
    chunks.emplace_back(lo, hi);
  });
  std::sort(chunks.begin(), chunks.end());
  return chunks;
}

// 1 + 2 + ... + n, in chunks whose sums are added up in order.
int64_t sum_to(int64_t n) {
  std::vector<int64_t> sums(static_cast<size_t>((n + 9) / 10));
  parallel_for(0, n, 10, [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) sums[static_cast<size_t>(lo / 10)] += i + 1;
  });
  return std::accumulate(sums.begin(), sums.end(), int64_t{0});
}

// A product large enough to be shared out, and a search; the same numbers wherever it is called.
std::vector<float> product_and_search() {
  constexpr int64_t kSize = 160, kRows = 6000, kWidth = 8, kBest = 20, kQueries = 9;
  std::vector<float> a(kSize * kSize), c(kSize * kSize), items(kRows * kWidth), scores(kQueries * kBest);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i % 11) - 5;
  for (size_t i = 0; i < items.size(); ++i) items[i] = static_cast<float>(i * i % 23) - 11;
  gemm<float>(false, true, kSize, kSize, kSize, 1, a.data(), kSize, a.data(), kSize, 0, c.data(), kSize);
  std::vector<int64_t> rows(scores.size());
  kernels::mips_topk(items.data(), kQueries, items.data(), kRows, kWidth, kBest, rows.data(), scores.data());
  for (const int64_t row : rows) c.push_back(static_cast<float>(row));
  c.insert(c.end(), scores.begin(), scores.end());
  return c;
}

struct ProductsByOneDnn {
  ProductsByOneDnn() {
    if (*onednn_version()) force_gemm_backend(GemmBackend::onednn);
  }
  ~ProductsByOneDnn() { force_gemm_backend(std::nullopt); }
};

}  // namespace

TEST_CASE("chunks cover the range once, and depend on the work alone") {
  const Chunks expected = {{3, 13}, {13, 23}, {23, 30}};
  for (const int threads : {1, 2, 3, 8}) {
    const ThreadScope scope(threads);
    CHECK(chunks_of(3, 30, 10) == expected);
    CHECK(chunks_of(0, 4, 0).size() == 4);  // a grain below 1 is 1
    CHECK(chunks_of(5, 5, 1).empty());
    CHECK(chunks_of(5, 4, 1).empty());
    CHECK(chunks_of(INT64_MAX - 3, INT64_MAX, INT64_MAX) == Chunks{{INT64_MAX - 3, INT64_MAX}});
    CHECK(sum_to(12345) == 12345 * 12346 / 2);
  }
}

TEST_CASE("the exception of the lowest chunk crosses, and the threads go on working") {
  for (const int threads : {1, 4}) {
    const ThreadScope scope(threads);
    for (int round = 0; round < 20; ++round) {
      CHECK(error_of([] {
              parallel_for(0, 100, 1, [](int64_t lo, int64_t) {
                if (lo >= 40 && lo % 3 == 0) fail("chunk", lo, " throws");
              });
            }) == "[chunk] 42 throws");
      CHECK(sum_to(1000) == 500500);
    }
  }
}

TEST_CASE("inside a chunk there is one thread, and an inner loop runs on it") {
  const ThreadScope scope(4);
  CHECK(num_threads() == 4);
  std::atomic<int> wrong{0};
  parallel_for(0, 16, 1, [&](int64_t, int64_t, int outer) {
    const auto here = std::this_thread::get_id();
    wrong += num_threads() != 1 || outer < 0 || outer >= 4;
    parallel_for(0, 5, 1,
                 [&](int64_t, int64_t, int inner) { wrong += inner != 0 || std::this_thread::get_id() != here; });
    const ThreadScope more(3);  // asks in vain
    wrong += num_threads() != 1 || sum_to(100) != 5050;
  });
  CHECK(wrong == 0);
  CHECK(num_threads() == 4);
}

TEST_CASE("a worker has one chunk at a time") {
  const ThreadScope scope(3);
  std::atomic<int> busy[3] = {}, wrong{0};
  parallel_for(0, 300, 1, [&](int64_t, int64_t, int worker) {
    if (worker < 0 || worker >= 3) {
      ++wrong;
      return;
    }
    wrong += busy[worker]++;
    std::this_thread::yield();
    --busy[worker];
  });
  CHECK(wrong == 0);
}

TEST_CASE("regions of fewer chunks than threads keep the threads and their scratch") {
  const ThreadScope scope(4);
  std::set<pid_t> seen;
  std::mutex lock;
  for (int64_t round = 0; round < 200; ++round)
    parallel_for(0, 2 + round % 3, 1, [&](int64_t, int64_t) {
      std::this_thread::yield();
      const std::lock_guard<std::mutex> hold(lock);
      seen.insert(gettid());  // the system does not give it to a later thread soon
    });
  CHECK(seen.size() <= 4);  // a team of as many as there are chunks ends the others, and starts new ones later
}

TEST_CASE("thread counts: a scope ends, belongs to its thread, and refuses less than one") {
  const int before = num_threads();
  set_num_threads(3);
  CHECK(num_threads() == 3);
  {
    const ThreadScope two(2);
    CHECK(num_threads() == 2);
    {
      const ThreadScope one(1);
      CHECK(num_threads() == 1);
      int other = 0;
      std::thread([&] { other = num_threads(); }).join();
      CHECK(other == 3);
    }
    CHECK(num_threads() == 2);
  }
  CHECK(num_threads() == 3);
  set_num_threads(before);
  CHECK(error_of([] { set_num_threads(0); }) == "[parallel] thread count is 0; give at least 1");
  CHECK(error_of([] { const ThreadScope none(-2); }) == "[parallel] thread count is -2; give at least 1");
  CHECK(num_threads() == before);
}

#ifdef _OPENMP  // what a host program with OpenMP may do, whether we use it or not
TEST_CASE("the host's OpenMP settings stay as they are") {
  const ProductsByOneDnn force;
  const int before = num_threads();
  for (const int hosts : {1, 5}) {
    omp_set_num_threads(hosts);
    const auto settings = [] {
      return std::vector<int>{omp_get_max_threads(), omp_get_dynamic(), omp_get_max_active_levels(),
                              omp_get_thread_limit()};
    };
    const std::vector<int> expected = settings();
    set_num_threads(2);
    CHECK(settings() == expected);
    sum_to(1000), product_and_search();
    CHECK(settings() == expected);
    {
      const ThreadScope three(3);
      product_and_search();
      CHECK(settings() == expected);
      const OpenMpThreads borrowed;
      CHECK(omp_get_max_threads() == 3);
    }
    CHECK(settings() == expected);
    set_num_threads(before);
  }
  omp_set_num_threads(before);
}

TEST_CASE("calls from inside the host's parallel region run on the caller's thread") {
  const ThreadScope scope(2);
  for (const bool onednn : {false, true}) {
    if (onednn && !*onednn_version()) continue;
    force_gemm_backend(onednn ? GemmBackend::onednn : GemmBackend::own);
    const std::vector<float> expected = product_and_search();
    std::atomic<int> wrong{0};
#pragma omp parallel num_threads(5)
    for (int round = 0; round < 5; ++round) {
      wrong += num_threads() != 1 || sum_to(1000) != 500500;
      wrong += product_and_search() != expected;  // five threads' numbers against two threads' heaps
    }
    CHECK(wrong == 0);
  }
  force_gemm_backend(std::nullopt);
}
#endif

TEST_CASE("threads of the host's own have teams of their own") {
  const std::vector<float> expected = product_and_search();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      const ThreadScope scope(2);
      for (int round = 0; round < 5; ++round)
        wrong += num_threads() != 2 || sum_to(1000) != 500500 || product_and_search() != expected;
    });
  for (std::thread& t : threads) t.join();
  CHECK(wrong == 0);
}

TEST_CASE("a forked child works on the calling thread alone") {
  const ThreadScope scope(2);
  const ProductsByOneDnn force;
  const std::vector<float> expected = product_and_search();
  REQUIRE(sum_to(1000) == 500500);  // there is a team for the child to lose
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // ends a child that waits for its parent's threads
    bool right = sum_to(1000) == 500500 && product_and_search() == expected && num_threads() == 1;
    std::thread([&] { right = right && sum_to(1000) == 500500 && num_threads() == 1; }).join();
    _exit(right ? 0 : 1);
  }
  REQUIRE(child > 0);
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(num_threads() == 2);
  CHECK(sum_to(1000) == 500500);
}

TEST_CASE("scratch belongs to its thread and slot, is aligned, and stays where it is") {
  void* first = thread_scratch(6, 1000);
  CHECK(reinterpret_cast<uintptr_t>(first) % 64 == 0);
  CHECK(thread_scratch(6, 10) == first);
  CHECK(thread_scratch(7, 10) != first);
  void* other = first;
  std::thread([&] { other = thread_scratch(6, 1000); }).join();
  CHECK(other != first);
}
