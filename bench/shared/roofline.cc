#include "bench/shared/roofline.h"

#include <twotower/tensor/kernels/isa.h>
#include <twotower/tensor/memory.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tt::bench {
namespace {

using kernels::Isa;

constexpr int64_t kRounds = 1 << 20;

// Chains of dependent multiply-adds, enough of them to hide the latency. Returned so that they must be computed.
#if defined(__x86_64__)
__attribute__((target("avx512f"))) float chains_avx512() {
  __m512 x[16];
  for (auto& v : x) v = _mm512_set1_ps(1.0f);
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) x[j] = _mm512_fmadd_ps(x[j], a, b);
  }
  float lanes[16], sum = 0;
  for (auto& v : x) {
    _mm512_storeu_ps(lanes, v);
    sum += lanes[0];
  }
  return sum;
}

__attribute__((target("avx2,fma"))) float chains_avx2() {
  __m256 x[12];
  for (auto& v : x) v = _mm256_set1_ps(1.0f);
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) x[j] = _mm256_fmadd_ps(x[j], a, b);
  }
  float lanes[8], sum = 0;
  for (auto& v : x) {
    _mm256_storeu_ps(lanes, v);
    sum += lanes[0];
  }
  return sum;
}
#endif

float chains_scalar() {
  typedef float v4 __attribute__((vector_size(16)));
  v4 x[12];
  for (auto& v : x) v = v4{1, 1, 1, 1};
  const v4 a = {0.999f, 0.999f, 0.999f, 0.999f}, b = {0.001f, 0.001f, 0.001f, 0.001f};
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) x[j] = x[j] * a + b;
  }
  float sum = 0;
  for (auto& v : x) sum += v[0];
  return sum;
}

// The best of several runs: a peak is what is possible, not what is usual.
template <class F>
double best_seconds(int runs, F&& f) {
  double best = 1e30;
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

volatile float sink;

}  // namespace

Roofline measure_roofline(int threads) {
  set_num_threads(threads);
  Roofline r{};
  const Isa isa = kernels::active_isa();
  float (*chains)() = chains_scalar;
  double flops = 12 * 4 * 2.0 * kRounds;
#if defined(__x86_64__)
  if (isa == Isa::avx2) chains = chains_avx2, flops = 12 * 8 * 2.0 * kRounds;
  if (isa == Isa::avx512) chains = chains_avx512, flops = 16 * 16 * 2.0 * kRounds;
#endif
  std::vector<float> results(static_cast<std::size_t>(threads));
  const double seconds = best_seconds(5, [&] {
    parallel_for(0, threads, 1, [&](int64_t i, int64_t) { results[static_cast<std::size_t>(i)] = chains(); });
  });
  sink = results[0];
  r.gflops = flops * threads / seconds / 1e9;

  const int64_t n = int64_t{1} << 26, part = n / 64;  // 256 MB, far beyond any cache
  Pool pool;
  auto* from = pool.allocate<float>(n);
  auto* to = pool.allocate<float>(n);
  parallel_for(0, n, part, [&](int64_t lo, int64_t hi) { std::fill(from + lo, from + hi, 1.0f); });
  float sums[64];
  const double read = best_seconds(4, [&] {
    parallel_for(0, n, part, [&](int64_t lo, int64_t hi) {
      // Four streams at once: one alone does not keep enough of a core's line fetches in flight.
      typedef float v4 __attribute__((vector_size(16)));
      v4 s[4] = {};
      const int64_t quarter = (hi - lo) / 4;
      for (int64_t i = lo; i < lo + quarter; i += 16)
        for (int stream = 0; stream < 4; ++stream)
          for (int j = 0; j < 4; ++j) s[j] += *reinterpret_cast<const v4*>(from + i + stream * quarter + 4 * j);
      const v4 total = (s[0] + s[1]) + (s[2] + s[3]);
      sums[lo / part] = total[0] + total[1];
    });
  });
  sink = sums[0];
  const double copy = best_seconds(4, [&] {
    parallel_for(0, n, part, [&](int64_t lo, int64_t hi) {
      std::memcpy(to + lo, from + lo, static_cast<std::size_t>(hi - lo) * sizeof(float));
    });
  });
  // Reading and writing back in place moves no line twice; a copy also fetches the lines that it overwrites.
  const double update = best_seconds(4, [&] {
    parallel_for(0, n, part, [&](int64_t lo, int64_t hi) {
      for (int64_t i = lo; i < hi; ++i) from[i] = from[i] + 1.0f, to[i] = to[i] + 1.0f;
    });
  });
  r.read_gbs = 4.0 * static_cast<double>(n) / read / 1e9;
  r.copy_gbs = 8.0 * static_cast<double>(n) / copy / 1e9;
  r.update_gbs = 16.0 * static_cast<double>(n) / update / 1e9;
  return r;
}

double floor_seconds(const Roofline& r, double flops, double bytes) {
  return std::max(flops / (r.gflops * 1e9), bytes / (std::max({r.read_gbs, r.copy_gbs, r.update_gbs}) * 1e9));
}

}  // namespace tt::bench
