// Every kernel against its floor: the time that its multiply-adds or its memory traffic need at the peaks measured in
// the same run.   bench_kernels [--json] [--threads N] [--only TEXT]

#include <twotower/tensor/error.h>
#include <twotower/tensor/kernels/attention/attention.h>
#include <twotower/tensor/kernels/elementwise/elementwise.h>
#include <twotower/tensor/kernels/embedding/embedding.h>
#include <twotower/tensor/kernels/gemm/gemm.h>
#include <twotower/tensor/kernels/in_batch/in_batch.h>
#include <twotower/tensor/kernels/isa.h>
#include <twotower/tensor/kernels/optimizer/optimizer.h>
#include <twotower/tensor/kernels/topk/topk.h>
#include <twotower/tensor/kernels/vmath/vmath.h>
#include <twotower/tensor/memory.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "bench/shared/roofline.h"
#include "bench/shared/timing.h"

namespace {

using namespace tt;
using namespace tt::kernels;

struct Bench {
  bench::Roofline peaks;
  bool json = false;
  std::string only;
  int threads = 2;

  bool wants(const std::string& name) const { return only.empty() || name.find(only) != std::string::npos; }
  bool wants_some(const std::string& prefix) const { return wants(prefix) || only.rfind(prefix, 0) == 0; }

  // flops and bytes are what the kernel cannot do without.
  template <class F>
  void run(const std::string& name, double flops, double bytes, F&& f) const {
    if (!wants(name)) return;
    std::vector<double> times;
    f();
    for (double total = 0; (total < 0.5 && times.size() < 400) || times.size() < 5;) {
      const auto start = std::chrono::steady_clock::now();
      f();
      times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      total += times.back();
    }
    std::sort(times.begin(), times.end());
    const auto at = [&](double q) {
      return 1e3 * times[static_cast<std::size_t>(q * static_cast<double>(times.size() - 1))];
    };
    const double median = at(0.5), floor = 1e3 * bench::floor_seconds(peaks, flops, bytes);
    const double gflops = flops / median / 1e6, gbs = bytes / median / 1e6;
    if (json)
      std::printf(
          "{\"kernel\": \"%s\", \"isa\": \"%s\", \"threads\": %d, \"median_ms\": %.5f, \"p10_ms\": %.5f, "
          "\"p90_ms\": %.5f, \"gflops\": %.2f, \"gbs\": %.2f, \"floor_ms\": %.5f, \"floor_share\": %.3f}\n",
          name.c_str(), isa_name(active_isa()), threads, median, at(0.1), at(0.9), gflops, gbs, floor, floor / median);
    else
      std::printf("%-40s %9.4f ms [%9.4f %9.4f] %7.1f GFLOP/s %6.1f GB/s  floor %8.4f ms  %3.0f %%\n", name.c_str(),
                  median, at(0.1), at(0.9), gflops, gbs, floor, 100 * floor / median);
    std::fflush(stdout);
  }
};

class Numbers {
 public:
  float* floats(int64_t n, float scale = 1) {
    auto* x = pool_.allocate<float>(n);
    uint32_t state = 12345;
    for (int64_t i = 0; i < n; ++i) {
      state = state * 1664525u + 1013904223u;
      x[i] = scale * (static_cast<float>(state >> 8) / 8388608.0f - 1);
    }
    return x;
  }
  int64_t* ids(int64_t n, int64_t rows, bool sorted) {
    auto* x = pool_.allocate<int64_t>(n);
    std::mt19937_64 random(7);
    for (int64_t i = 0; i < n; ++i)
      x[i] = sorted ? i * (rows / n) : static_cast<int64_t>(random() % static_cast<uint64_t>(rows));
    return x;
  }

 private:
  Pool pool_;
};

std::string label(const char* name, std::initializer_list<int64_t> sizes) {
  std::string text = name;
  char separator = ' ';
  for (const int64_t size : sizes) {
    text += separator;
    text += std::to_string(size);
    separator = 'x';
  }
  return text;
}

void gemms(const Bench& b) {
  struct Shape {
    bool ta, tb;
    int64_t m, n, k;
  };
  for (const auto& [ta, tb, m, n, k] :
       {Shape{false, true, 1024, 256, 64}, Shape{false, true, 1024, 64, 256}, Shape{false, false, 1024, 64, 256},
        Shape{true, false, 256, 64, 1024}, Shape{false, true, 51200, 192, 64}, Shape{false, false, 51200, 64, 192},
        Shape{true, false, 192, 64, 51200}, Shape{true, false, 64, 192, 51200}, Shape{false, true, 1024, 1024, 64},
        Shape{false, true, 1024, 1024, 1024}, Shape{false, true, 32, 256, 64}}) {
    if (!b.wants_some("gemm")) break;
    Numbers x;
    const float *a = x.floats(m * k), *w = x.floats(k * n);
    float* c = x.floats(m * n);
    const auto flops = 2.0 * static_cast<double>(m * n * k), bytes = 4.0 * static_cast<double>(m * k + k * n + m * n);
    const std::string name = label((std::string("gemm ") + (ta ? 'T' : 'N') + (tb ? 'T' : 'N')).c_str(), {m, n, k});
    b.run(name, flops, m * k < (1 << 20) ? 0 : bytes, [&, ta = ta, tb = tb, m = m, n = n, k = k] {
      gemm(ta, tb, m, n, k, 1, a, ta ? m : k, w, tb ? k : n, 0, c, n);
    });
  }
}

// What a first call takes beyond its inputs and outputs, the largest size first: scratch memory stays.
void loss_memory(const Bench& b) {
  const int64_t n = 16384, d = 64;
  const std::string name = label("in_batch_softmax memory", {n, n, d});
  if (!b.wants(name)) return;
  Numbers x;
  InBatchSoftmax in;
  in.b = in.m = n, in.d = d, in.u = x.floats(n * d, 0.3f), in.v = x.floats(n * d, 0.3f), in.col_bias = x.floats(n);
  InBatchGrads g;
  double d_inv_tau;
  float* ce = x.floats(n);
  g.du = x.floats(n * d), g.dv = x.floats(n * d), g.d_inv_tau = &d_inv_tau;
  bench::reset_peak_memory();
  const double before = bench::held_memory_mib();
  in_batch_softmax(in, ce, &g);
  const double extra = (bench::peak_memory_mib() - before) * 1.048576;
  std::printf(b.json ? "{\"kernel\": \"%s\", \"threads\": %d, \"extra_mb\": %.1f}\n"
                     : "%-40s %2d threads: %.1f MB beyond inputs and gradients\n",
              name.c_str(), b.threads, extra);
}

void losses(const Bench& b) {
  for (const int64_t n : {1024, 4096, 16384}) {
    if (!b.wants_some("in_batch")) break;
    const int64_t d = 64;
    Numbers x;
    InBatchSoftmax in;
    in.b = in.m = n, in.d = d, in.u = x.floats(n * d, 0.3f), in.v = x.floats(n * d, 0.3f), in.col_bias = x.floats(n);
    InBatchGrads g;
    double d_inv_tau;
    float* ce = x.floats(n);
    g.du = x.floats(n * d), g.dv = x.floats(n * d), g.d_inv_tau = &d_inv_tau;
    const double flops = 6.0 * static_cast<double>(n) * static_cast<double>(n * d);
    b.run(label("in_batch_softmax", {n, n, d}), flops, 0, [&] { in_batch_softmax(in, ce, &g); });
    b.run(label("in_batch_softmax ce only", {n, n, d}), flops / 3, 0, [&] { in_batch_softmax(in, ce); });
    InBatchKl kl;
    kl.b = kl.m = n, kl.d = d, kl.u = in.u, kl.v = in.v, kl.col_b = in.col_bias, kl.c = 0.5f;
    b.run(label("in_batch_kl", {n, n, d}), flops, 0, [&] { in_batch_kl(kl, &g); });
  }
}

void attentions(const Bench& b) {
  const int64_t n = 1024, length = 50, d = 64, heads = 4, rows = n * length;
  if (!b.wants_some("attention")) return;
  Numbers x;
  std::vector<int64_t> offsets;
  for (int64_t i = 0; i <= n; ++i) offsets.push_back(i * length);
  const float *qkv = x.floats(rows * 3 * d), *dout = x.floats(rows * d), *qk = x.floats(n * heads * d);
  float *out = x.floats(rows * d), *dqkv = x.floats(rows * 3 * d), *pooled = x.floats(n * heads * d);
  float *dqk = x.floats(n * heads * d), *stats = x.floats(rows * 2 * heads);
  const auto pairs = static_cast<double>(rows * length * d), row = 4.0 * static_cast<double>(rows * d);
  const auto one = 2.0 * static_cast<double>(rows * d * heads);
  b.run("attention forward 1024x50x64 h4", 4 * pairs, 4 * row,
        [&] { attention_forward(qkv, offsets.data(), n, d, heads, out, stats); });
  b.run("attention backward 1024x50x64 h4", 10 * pairs, 7 * row,
        [&] { attention_backward(qkv, out, stats, offsets.data(), n, d, heads, dout, dqkv); });
  b.run("attention_last forward 1024x50x64 h4", 2 * one, row,
        [&] { attention_last_forward(qk, dout, offsets.data(), n, d, heads, pooled); });
  b.run("attention_last backward 1024x50x64 h4", 6 * one, 2 * row,
        [&] { attention_last_backward(qk, dout, offsets.data(), n, d, heads, pooled, dqk, out); });
}

void rows(const Bench& b) {
  const int64_t table_rows = 1000000, n = 51200, dim = 64;
  if (!b.wants_some("rows")) return;
  Numbers x;
  auto *table = x.floats(table_rows * dim), *m = x.floats(table_rows * dim), *v = x.floats(table_rows * dim);
  for (int64_t i = 0; i < table_rows * dim; ++i) v[i] = 1;
  const int64_t* ids = x.ids(n, table_rows, false);
  const int64_t* sorted = x.ids(n, table_rows, true);
  float *out = x.floats(n * dim), *values = x.floats(n * dim);
  std::vector<double> work(row_groups_workspace(n) / 8 + 1);
  const double row = 4.0 * static_cast<double>(n * dim);
  const RowPart<float> part{ids, out, n, dim};
  b.run("rows gather 51200x64 of 1M", 0, 2 * row, [&] { gather_rows(table, dim, ids, n, out, dim); });
  b.run("rows group 51200 ids", 0, 4.0 * 16 * n, [&] { group_rows(&part, 1, work.data()); });
  const RowGroups groups = group_rows(&part, 1, work.data());
  b.run("rows sum groups 51200x64", 0, 2 * row, [&] { sum_row_groups(&part, 1, groups, dim, values); });
  AdamStep adam_step;
  AdagradStep adagrad_step;
  b.run("rows adam 51200x64", 0, 7 * row, [&] { adam_rows(adam_step, table, m, v, dim, sorted, out, n); });
  b.run("rows adagrad 51200x64", 0, 5 * row, [&] { adagrad_rows(adagrad_step, table, v, dim, sorted, out, n); });
  b.run("rows (dense) adam 16M", 0, 28.0 * 16e6, [&] { adam(adam_step, table, m, v, table + 16000000, 16000000); });
}

void retrieval(const Bench& b) {
  const int64_t c = 1000000, d = 64, k = 100;
  if (!b.wants_some("mips_topk")) return;
  Numbers x;
  const float *items = x.floats(c * d), *queries = x.floats(1024 * d);
  std::vector<int64_t> rows(1024 * k);
  std::vector<float> scores(1024 * k);
  for (const int64_t q : {1, 8, 64, 1024})
    b.run(label("mips_topk k100", {q, c, d}), 2.0 * static_cast<double>(q) * static_cast<double>(c * d), 4.0 * c * d,
          [&] { mips_topk(queries, q, items, c, d, k, rows.data(), scores.data()); });
}

void maps(const Bench& b) {
  const int64_t n = 1 << 16;  // in cache: these are bound by arithmetic
  if (!b.wants_some("vmath") && !b.wants_some("elementwise")) return;
  Numbers x;
  const float* a = x.floats(n);
  float* y = x.floats(n);
  const double flops = 20.0 * n;
  b.run("vmath exp 64k", flops, 0, [&] { vexp(a, y, n); });
  b.run("vmath log 64k", flops, 0, [&] { vlog(a, y, n); });
  b.run("vmath tanh 64k", flops, 0, [&] { vtanh(a, y, n); });
  b.run("vmath sigmoid 64k", flops, 0, [&] { vsigmoid(a, y, n); });
  const int64_t big = 1 << 24;
  const float* p = x.floats(big);
  float* q = x.floats(big);
  b.run("elementwise add_to 16M", 0, 12.0 * big, [&] { add_to(q, p, big); });
  b.run("elementwise column_sums 262144x64", 0, 4.0 * big, [&] { column_sums_to(y, p, big / 64, 64); });
}

}  // namespace

int main(int argc, char** argv) try {
  Bench b;
  b.threads = num_threads();
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--json")
      b.json = true;
    else if (arg == "--threads" && i + 1 < argc)
      b.threads = std::max(1, std::atoi(argv[++i]));
    else if (arg == "--only" && i + 1 < argc)
      b.only = argv[++i];
    else
      fail("bench_kernels", "unknown argument \"", arg,
           "\"; usage: bench_kernels [--json] [--threads N] [--only TEXT]");
  }
  b.peaks = bench::measure_roofline(b.threads);
  if (!b.json)
    std::printf("%s, %d threads: peak %.0f GFLOP/s, DRAM read %.1f GB/s, copy %.1f, update %.1f\n",
                isa_name(active_isa()), b.threads, b.peaks.gflops, b.peaks.read_gbs, b.peaks.copy_gbs,
                b.peaks.update_gbs);
  loss_memory(b), gemms(b), losses(b), attentions(b), rows(b), retrieval(b), maps(b);
} catch (const tt::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 2;
}
