// Both backends of the float product on each product of a training step, as the step asks for it.
//   bench_gemm --model history --size medium --threads 2 [--json]      README.md has the table

#include <twotower/tensor/error.h>
#include <twotower/tensor/memory.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/fit/training_step.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "bench/shared/products.h"
#include "bench/shared/timing.h"
#include "bench/shared/workload.h"

namespace {

using namespace tt;
using namespace tt::bench;

struct Options {
  std::string model = "history", size = "medium";
  int threads = 2;
  double least_share = 0.001;
  bool json = false, large = false;
};

std::vector<Product> step_products(const Options& options) {
  const Workload workload = find_workload(options.size);
  TwoTower<float> model(workload_config(workload, options.model));
  TrainingStep step(model, TrainConfig{});
  const WorkloadBatches batches(workload, 1);
  return products_of([&] { step.run(batches[0], 1e-3); });
}

// Operands of one product; they stay in the cache, as a layer's block does.
struct Operands {
  Pool pool;
  float *a, *b, *c, *bias;
  explicit Operands(const GemmCall& g)
      : a(pool.allocate<float>((g.transpose_a ? g.k : g.m) * g.lda)),
        b(pool.allocate<float>((g.transpose_b ? g.n : g.k) * g.ldb)),
        c(pool.allocate<float>(g.m * g.ldc)),
        bias(pool.allocate<float>(g.n)) {
    for (int64_t i = 0; i < (g.transpose_a ? g.k : g.m) * g.lda; ++i) a[i] = static_cast<float>(i % 7) - 3;
    for (int64_t i = 0; i < (g.transpose_b ? g.n : g.k) * g.ldb; ++i) b[i] = static_cast<float>(i % 5) - 2;
  }
  void multiply(const GemmCall& g) const {
    gemm<float>(g.transpose_a, g.transpose_b, g.m, g.n, g.k, 1, a, g.lda, b, g.ldb, g.adds ? 1e-3f : 0.0f, c, g.ldc,
                g.bias ? bias : nullptr, g.relu);
  }
};

// Median GFLOP/s of all threads together with our own kernel and with oneDNN, which take turns.
struct Rates {
  double own, onednn;
};
Rates measure(const Product& product, int threads) {
  const GemmCall& g = product.call;
  const int64_t copies = product.inside ? threads : 1;
  std::vector<Operands> operands;
  for (int64_t i = 0; i < copies; ++i) operands.emplace_back(g);
  const double flops = 2.0 * static_cast<double>(g.multiply_adds() * copies);
  const auto repeats = static_cast<int64_t>(std::max(1.0, 2e7 * threads / flops));
  const auto run = [&] {
    if (copies == 1) {
      for (int64_t r = 0; r < repeats; ++r) operands[0].multiply(g);
    } else {
      parallel_for(0, copies, 1, [&](int64_t i, int64_t) {
        for (int64_t r = 0; r < repeats; ++r) operands[static_cast<size_t>(i)].multiply(g);
      });
    }
  };
  std::vector<double> times[2];
  for (int turn = -1; turn < 31; ++turn)  // the first is to warm up
    for (const bool ours : {true, false}) {
      if (!ours && !*onednn_version()) continue;
      force_gemm_backend(ours ? GemmBackend::own : GemmBackend::onednn);
      const double ms = timed_ms(run);
      if (turn >= 0) times[ours ? 0 : 1].push_back(ms);
    }
  force_gemm_backend(std::nullopt);
  const auto rate = [&](const std::vector<double>& ms) {
    return ms.empty() ? 0.0 : flops * static_cast<double>(repeats) / spread(ms).median / 1e6;
  };
  return {rate(times[0]), rate(times[1])};
}

void print(const Options& o, const Product& p, double share, const Rates& rates) {
  const GemmCall& g = p.call;
  char shape[64];
  std::snprintf(shape, sizeof shape, "%c%c %ldx%ldx%ld%s%s%s", g.transpose_a ? 'T' : 'N', g.transpose_b ? 'T' : 'N',
                static_cast<long>(g.m), static_cast<long>(g.n), static_cast<long>(g.k), g.adds ? " +=" : "",
                g.bias ? " bias" : "", g.relu ? " relu" : "");
  const char* served = g.backend == GemmBackend::onednn ? "oneDNN" : "own";
  if (o.json)
    std::printf(
        "{\"model\": \"%s\", \"size\": \"%s\", \"threads\": %d, \"product\": \"%s\", \"count\": %ld, \"share\": %.4f, "
        "\"side_by_side\": %s, \"served_by\": \"%s\", \"own_gflops\": %.1f, \"onednn_gflops\": %.1f}\n",
        o.model.c_str(), o.size.c_str(), o.threads, shape, static_cast<long>(p.count), share,
        p.inside ? "true" : "false", served, rates.own, rates.onednn);
  else
    std::printf("%-30s %6ld x %-12s %5.1f %%  %-6s  own %6.1f GFLOP/s  oneDNN %6.1f  own / oneDNN %.2f\n", shape,
                static_cast<long>(p.count), p.inside ? "side by side" : "alone", 100 * share, served, rates.own,
                rates.onednn, rates.onednn > 0 ? rates.own / rates.onednn : 0.0);
  std::fflush(stdout);
}

// Single products from small to far larger than any layer's block, for where the two cross.
std::vector<Product> large_products() {
  std::vector<Product> products;
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{512, 512, 64},
                                {1024, 1024, 64},
                                {1024, 4096, 64},
                                {4096, 4096, 64},
                                {512, 512, 512},
                                {1024, 1024, 1024},
                                {2048, 2048, 2048},
                                {256, 256, 8192},
                                {64, 192, 51200},
                                {51200, 192, 64}})
    for (const auto& [ta, tb] : {std::pair{false, true}, {false, false}, {true, false}})
      products.push_back(
          {{GemmBackend::own, ta, tb, m, n, k, ta ? m : k, tb ? k : n, n, false, false, false}, false, 1});
  return products;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Both backends of the float product on the products of a training step"};
  app.add_option("--model", options.model, "a rung of the ladder")->capture_default_str();
  app.add_option("--size", options.size, "small, medium or large")->capture_default_str();
  app.add_option("--threads", options.threads)->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--least-share", options.least_share, "leave out products with less of the FLOPs")
      ->capture_default_str();
  app.add_flag("--large", options.large, "single products of all sizes instead of a step's");
  app.add_flag("--json", options.json, "one JSON object a line");
  CLI11_PARSE(app, argc, argv);
  try {
    set_num_threads(options.threads);
    const std::vector<Product> products = options.large ? large_products() : step_products(options);
    double total = 0;
    for (const Product& p : products) total += p.flops();
    if (!options.json && !options.large)
      std::printf("%s %s: %.2f GFLOP in products, %.1f %% of them by oneDNN %s\n", options.size.c_str(),
                  options.model.c_str(), total / 1e9, 100 * flops_by(products, GemmBackend::onednn) / total,
                  onednn_version());
    for (const Product& p : products)
      if (options.large || p.flops() >= options.least_share * total)
        print(options, p, p.flops() / total, measure(p, options.threads));
  } catch (const Error& error) {
    std::fprintf(stderr, "bench_gemm: %s\n", error.what());
    return 2;
  }
  return 0;
}
