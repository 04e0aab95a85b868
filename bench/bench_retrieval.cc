// Times retrieval of the K best of a corpus, by batch of queries.
//   bench_retrieval --rows 1000000 --width 64 --k 100 --threads 2 --index exact [--json]

#include <twotower/models/retrieval/make_index.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/parallel.h>
#include <twotower/tensor/random.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <set>

#include "bench/cost.h"
#include "bench/roofline.h"
#include "bench/timing.h"

namespace {

using namespace tt;
using namespace tt::bench;

struct Options {
  int64_t rows = 1000000, width = 64, k = 100;
  int threads = 2;
  std::vector<int64_t> batches = {1, 8, 64, 1024};
  double seconds = 2;
  std::string index = "exact";
  HnswOptions hnsw;
  bool json = false;
};

// Share of the true K best, found by plain loops in double, that `found` has; over its first few queries.
double recall(Tensor<const float> queries, Tensor<const float> items, const TopItems& found) {
  constexpr int64_t kChecked = 4;
  const int64_t checked = std::min(kChecked, found.queries()), c = items.rows(), d = items.cols();
  const int64_t k = std::min(found.k, c);
  std::vector<std::pair<double, int64_t>> scored(static_cast<size_t>(c));
  int64_t hits = 0;
  for (int64_t q = 0; q < checked; ++q) {
    for (int64_t i = 0; i < c; ++i) {
      double dot = 0;
      for (int64_t j = 0; j < d; ++j) dot += static_cast<double>(queries.row(q)[j]) * items.row(i)[j];
      scored[static_cast<size_t>(i)] = {-dot, i};
    }
    std::nth_element(scored.begin(), scored.begin() + k - 1, scored.end());
    const auto rows = found.items(q);
    const std::set<int64_t> have(rows.begin(), rows.end());
    for (int64_t i = 0; i < k; ++i) hits += static_cast<int64_t>(have.count(scored[static_cast<size_t>(i)].second));
  }
  return static_cast<double>(hits) / static_cast<double>(checked * k);
}

void run(const Options& options) {
  set_num_threads(options.threads);
  Pool pool;
  const Tensor<float> items = make_tensor<float>(pool, {options.rows, options.width});
  Philox(1, 1).fill_normal(items.data(), items.numel(), 0.0f, 1.0f);
  const std::shared_ptr<const Index> made = make_index(options.index, items, options.hnsw);
  const Index& index = *made;
  const Roofline peaks = measure_roofline(options.threads);
  if (!options.json)
    std::printf("the %lld best of %lld x %lld, %s, %d threads; peaks %.0f GFLOP/s, %.1f GB/s read\n",
                static_cast<long long>(options.k), static_cast<long long>(options.rows),
                static_cast<long long>(options.width), options.index.c_str(), options.threads, peaks.gflops,
                peaks.read_gbs);
  for (const int64_t batch : options.batches) {
    Pool query_pool;
    const Tensor<float> queries = make_tensor<float>(query_pool, {batch, options.width});
    Philox(1, 2).fill_normal(queries.data(), queries.numel(), 0.0f, 1.0f);
    TopItems found;
    index.search(queries, options.k, found);  // warm
    std::vector<double> times;
    for (double total = 0; times.size() < 3 || total < 1e3 * options.seconds; total += times.back())
      times.push_back(timed_ms([&] { index.search(queries, options.k, found); }));
    const Spread ms = spread(times);
    const double rate = 1e3 * static_cast<double>(batch) / ms.median, found_share = recall(queries, items, found);
    const Cost cost = retrieval_cost(batch, options.rows, options.width);
    const double floor = 1e3 * floor_seconds(peaks, cost.flops, cost.bytes);
    if (options.json)
      std::printf("{\"batch\": %lld, \"median_ms\": %.4f, \"queries_per_s\": %.1f, \"recall\": %.4f}\n",
                  static_cast<long long>(batch), ms.median, rate, found_share);
    else
      std::printf("batch %5lld %9.3f ms (%.3f .. %.3f) %9.0f queries/s  recall %.4f  bound %.3f ms (%.0f %%)\n",
                  static_cast<long long>(batch), ms.median, ms.p10, ms.p90, rate, found_share, floor,
                  100 * floor / ms.median);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Times retrieval of the K best items"};
  app.add_option("--rows", options.rows, "items of the corpus")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--width", options.width)->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--k", options.k)->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--threads", options.threads)->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--batches", options.batches, "queries at a time")->delimiter(',')->capture_default_str();
  app.add_option("--seconds", options.seconds, "to measure each batch size for")->capture_default_str();
  app.add_option("--index", options.index, "exact, fp16, int8 or hnsw")->capture_default_str();
  app.add_option("--hnsw-recall", options.hnsw.recall, "what hnsw's walks are made wide enough for")
      ->capture_default_str();
  app.add_flag("--json", options.json, "one JSON object a line");
  CLI11_PARSE(app, argc, argv);
  try {
    run(options);
  } catch (const Error& error) {
    std::fprintf(stderr, "bench_retrieval: %s\n", error.what());
    return 2;
  }
  return 0;
}
