// Times retrieval of the K best of a corpus, by batch of queries, and says what share of the true ones it found.
//   bench_retrieval --rows 1000000 --width 64 --k 100 --threads 1,2 --index int8 --data clustered [--json]

#include <twotower/models/retrieval/index/make_index.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/files/safetensors.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>

#include "bench/shared/cost.h"
#include "bench/shared/roofline.h"
#include "bench/shared/timing.h"

namespace {

using namespace tt;
using namespace tt::bench;

struct Options {
  int64_t rows = 1000000, width = 64, k = 100, checked = 32;
  std::vector<int> threads = {2};
  std::vector<int64_t> batches = {1, 8, 64, 1024};
  double seconds = 2;
  std::string index = "exact", data = "gaussian";
  HnswOptions hnsw;
  std::vector<int64_t> ef;
  bool json = false;
};

// Items and as many queries as the largest batch.
struct Data {
  Pool pool;
  SafetensorsFile file;
  Tensor<const float> items, queries;
};

// Of 1000 centres, each row lies near one: noise of a fifth of a centre's length. Queries are such rows too.
void gather_around(Tensor<const float> centres, Tensor<float> rows, uint64_t stream) {
  const int64_t n = centres.rows(), d = centres.cols();
  std::vector<float> which(static_cast<size_t>(rows.rows()));
  Philox(1, stream).fill_uniform(which.data(), rows.rows(), 0.0f, static_cast<float>(n));
  parallel_for(0, rows.rows(), 4096, [&](int64_t lo, int64_t hi) {
    for (int64_t r = lo; r < hi; ++r) {
      const float* centre = centres.row(std::min(static_cast<int64_t>(which[static_cast<size_t>(r)]), n - 1));
      for (int64_t j = 0; j < d; ++j) rows.row(r)[j] = centre[j] + 0.2f * rows.row(r)[j];
    }
  });
}

Tensor<const float> view(const SafetensorsFile& file, const std::string& name, int64_t width) {
  const float* x = file.data<float>(name, {-1, width});
  return {x, {file.entry(name).shape[0], file.entry(name).shape[1]}};
}

Data make_data(const Options& options) {
  Data data;
  const int64_t batch = *std::max_element(options.batches.begin(), options.batches.end());
  if (options.data.ends_with(".safetensors")) {
    data.file = SafetensorsFile::open(options.data);
    data.items = view(data.file, "items", -1);
    data.queries = view(data.file, "queries", data.items.cols());
    check(data.queries.rows() >= batch, "bench_retrieval", options.data, " has ", data.queries.rows(),
          " queries; a batch of ", batch, " needs more");
    return data;
  }
  const Tensor<float> items = make_tensor<float>(data.pool, {options.rows, options.width});
  const Tensor<float> queries = make_tensor<float>(data.pool, {batch, options.width});
  Philox(1, 1).fill_normal(items.data(), items.numel(), 0.0f, 1.0f);
  Philox(1, 2).fill_normal(queries.data(), queries.numel(), 0.0f, 1.0f);
  if (options.data == "clustered") {
    const Tensor<float> centres = make_tensor<float>(data.pool, {std::min<int64_t>(1000, options.rows), options.width});
    Philox(1, 3).fill_normal(centres.data(), centres.numel(), 0.0f, 1.0f);
    gather_around(centres, items, 4), gather_around(centres, queries, 5);
  } else {
    check(options.data == "gaussian", "bench_retrieval", "there is no data \"", options.data,
          "\"; choose gaussian, clustered or a FILE.safetensors with the tensors items and queries");
  }
  data.items = items, data.queries = queries;
  return data;
}

// What a product in double comes to.
double product(const float* a, const float* b, int64_t d) {
  double sums[4] = {};
  for (int64_t j = 0; j < d; ++j) sums[j % 4] += static_cast<double>(a[j]) * static_cast<double>(b[j]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// The K-th best product in double of the first few queries, by plain loops: what is as good is a true answer.
std::vector<double> least_of_the_best(const Data& data, int64_t queries, int64_t k) {
  const int64_t c = data.items.rows(), d = data.items.cols();
  std::vector<double> least(static_cast<size_t>(queries));
  parallel_for(0, queries, 1, [&](int64_t lo, int64_t hi) {
    std::vector<double> all(static_cast<size_t>(c));
    for (int64_t q = lo; q < hi; ++q) {
      for (int64_t i = 0; i < c; ++i) all[static_cast<size_t>(i)] = product(data.queries.row(q), data.items.row(i), d);
      std::nth_element(all.begin(), all.begin() + k - 1, all.end(), std::greater<>());
      least[static_cast<size_t>(q)] = all[static_cast<size_t>(k - 1)];
    }
  });
  return least;
}

// Share of the K best that was found; of the queries whose least is known.
double recall(const Data& data, const TopItems& found, const std::vector<double>& least, int64_t k) {
  const int64_t checked = std::min(static_cast<int64_t>(least.size()), found.queries());
  int64_t hits = 0;
  for (int64_t q = 0; q < checked; ++q)
    for (const int64_t row : found.items(q))
      hits += product(data.queries.row(q), data.items.row(row), data.items.cols()) >= least[static_cast<size_t>(q)];
  return static_cast<double>(hits) / static_cast<double>(checked * k);
}

// The time that no scan can go below.
double floor_ms(const Roofline& peaks, const std::string& kind, const Data& data, int64_t batch) {
  const Cost cost = retrieval_cost(kind, batch, data.items.rows(), data.items.cols());
  return 1e3 * floor_seconds(peaks, cost.flops, cost.bytes);
}

// One index on one number of threads, batch after batch.
void time_index(const std::string& name, const Index& index, const Data& data, const Roofline& peaks, int threads,
                const std::vector<double>& least, double build_s, const Options& options) {
  const int64_t k = std::min(options.k, data.items.rows());
  for (const int64_t batch : options.batches) {
    const Tensor<const float> queries{data.queries.data(), {batch, data.items.cols()}};
    TopItems found;
    index.search(queries, k, found);  // warm
    std::vector<double> times;
    for (double total = 0; times.size() < 3 || total < 1e3 * options.seconds; total += times.back())
      times.push_back(timed_ms([&] { index.search(queries, k, found); }));
    const Spread ms = spread(times);
    const double rate = 1e3 * static_cast<double>(batch) / ms.median, share = recall(data, found, least, k);
    const double floor = floor_ms(peaks, options.index, data, batch);
    if (options.json)
      std::printf(
          "{\"index\": \"%s\", \"threads\": %d, \"batch\": %lld, \"median_ms\": %.4f, \"p10_ms\": %.4f, "
          "\"queries_per_s\": %.1f, \"recall\": %.6f, \"bound_ms\": %.4f, \"build_s\": %.3f}\n",
          name.c_str(), threads, static_cast<long long>(batch), ms.median, ms.p10, rate, share, floor, build_s);
    else
      std::printf("batch %5lld %9.3f ms (%.3f .. %.3f) %9.0f queries/s  recall %.5f  bound %.3f ms (%.0f %%)\n",
                  static_cast<long long>(batch), ms.median, ms.p10, ms.p90, rate, share, floor,
                  100 * floor / ms.median);
    std::fflush(stdout);
  }
}

void run(const Options& options) {
  set_num_threads(*std::max_element(options.threads.begin(), options.threads.end()));
  const Data data = make_data(options);
  const int64_t k = std::min(options.k, data.items.rows());
  std::shared_ptr<const Index> made;
  const double build_s = 1e-3 * timed_ms([&] { made = make_index(options.index, data.items, options.hnsw); });
  std::vector<std::pair<std::string, std::shared_ptr<const Index>>> indexes;
  if (const auto* graph = dynamic_cast<const HnswIndex*>(made.get())) {
    for (const int64_t ef : options.ef.empty() ? std::vector<int64_t>{graph->ef()} : options.ef)
      indexes.emplace_back("hnsw ef " + std::to_string(ef), std::make_shared<HnswIndex>(*graph, ef));
  } else {
    indexes.emplace_back(options.index, made);
  }
  const std::vector<double> least = least_of_the_best(data, std::min(options.checked, data.queries.rows()), k);
  for (const int threads : options.threads) {
    set_num_threads(threads);
    const Roofline peaks = measure_roofline(threads);
    for (const auto& [name, index] : indexes) {
      if (!options.json)
        std::printf(
            "the %lld best of %lld x %lld, %s, %s (built in %.2f s), %d threads; peaks %.0f GFLOP/s, %.1f GB/s read\n",
            static_cast<long long>(k), static_cast<long long>(data.items.rows()),
            static_cast<long long>(data.items.cols()), options.data.c_str(), name.c_str(), build_s, threads,
            peaks.gflops, peaks.read_gbs);
      time_index(name, *index, data, peaks, threads, least, build_s, options);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Times retrieval of the K best items"};
  app.add_option("--rows", options.rows, "items of the corpus")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--width", options.width)->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--k", options.k)->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--threads", options.threads, "one number or several, in turn")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--batches", options.batches, "queries at a time")->delimiter(',')->capture_default_str();
  app.add_option("--seconds", options.seconds, "to measure each batch size for")->capture_default_str();
  app.add_option("--index", options.index, "exact, fp16, int8 or hnsw")->capture_default_str();
  app.add_option("--hnsw-recall", options.hnsw.recall, "what hnsw's walks are made wide enough for")
      ->capture_default_str();
  app.add_option("--ef", options.ef, "hnsw: how wide walks are instead, one or several widths")->delimiter(',');
  app.add_option("--data", options.data, "gaussian, clustered or a FILE.safetensors with items and queries")
      ->capture_default_str();
  app.add_option("--checked", options.checked, "queries whose recall is measured, against double")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
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
