// Times whole training steps (gather, forward, backward, optimizer) of any model at the named sizes.
//   bench_step --model history --size medium --threads 2 [--json]      README.md says how to read it

#include <twotower/tensor/error.h>
#include <twotower/tensor/gemm.h>
#include <twotower/tensor/kernels/isa.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/fit/training_step.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "bench/shared/cost.h"
#include "bench/shared/products.h"
#include "bench/shared/roofline.h"
#include "bench/shared/timing.h"
#include "bench/shared/workload.h"

namespace {

using namespace tt;
using namespace tt::bench;

struct Options {
  std::string model = "base", size = "medium";
  int threads = 2, repeats = 0, batches = 8;
  int64_t batch = 0, history = 0, rows = 0;
  double seconds = 3;
  bool json = false;
};

struct Measured {
  std::string model;
  Cost cost;
  Spread ms;
  int64_t batch;
  double memory_mib;
  double product_flops, onednn_flops;  // of the matrix products of a step, and of those that oneDNN served
};

Measured measure(const Options& options, const std::string& model_name) {
  Workload workload = find_workload(options.size);
  if (options.batch) workload.batch = options.batch;
  if (options.history) workload.history = options.history;
  if (options.rows) workload.users = workload.items = options.rows;
  const ModelConfig config = workload_config(workload, model_name);
  reset_peak_memory();
  TwoTower<float> model(config);
  TrainingStep step(model, TrainConfig{});
  const WorkloadBatches batches(workload, options.batches);

  // The first steps size the buffers, and tables that are not yet in memory come in.
  for (size_t i = 0; i < batches.size(); ++i) step.run(batches[i], 1e-3);
  std::vector<double> times;
  double total = 0;
  const size_t fewest = options.repeats ? static_cast<size_t>(options.repeats) : 2 * batches.size();
  while (times.size() < fewest || (!options.repeats && total < 1e3 * options.seconds && times.size() < 2000)) {
    const Batch<float> batch = batches[times.size() % batches.size()];
    times.push_back(timed_ms([&] { step.run(batch, 1e-3); }));
    total += times.back();
  }
  const double memory = peak_memory_mib();
  const std::vector<Product> products = products_of([&] { step.run(batches[0], 1e-3); });
  const double by_onednn = flops_by(products, GemmBackend::onednn);
  return {model_name,    step_cost(workload, config),
          spread(times), workload.batch,
          memory,        flops_by(products, GemmBackend::own) + by_onednn,
          by_onednn};
}

void print(const Options& options, const Measured& m, const Roofline& peaks) {
  const double roofline = 1e3 * floor_seconds(peaks, m.cost.flops, m.cost.bytes);
  const double onednn_share = m.onednn_flops / m.product_flops;
  const double gflops = m.cost.flops / m.ms.median / 1e6, examples = 1e3 * static_cast<double>(m.batch) / m.ms.median;
  if (options.json)
    std::printf(
        "{\"model\": \"%s\", \"size\": \"%s\", \"threads\": %d, \"median_ms\": %.4f, \"p10_ms\": %.4f, "
        "\"p90_ms\": %.4f, \"examples_per_s\": %.0f, \"gflops\": %.2f, \"roofline_ms\": %.4f, "
        "\"roofline_share\": %.4f, \"peak_rss_mib\": %.0f, \"product_gflop\": %.4f, \"onednn_share\": %.4f, "
        "\"onednn\": \"%s\"}\n",
        m.model.c_str(), options.size.c_str(), options.threads, m.ms.median, m.ms.p10, m.ms.p90, examples, gflops,
        roofline, roofline / m.ms.median, m.memory_mib, m.product_flops / 1e9, onednn_share, onednn_version());
  else
    std::printf(
        "%-8s %-6s %dT %9.3f ms (%.3f .. %.3f) %9.0f examples/s %7.1f GFLOP/s (%2.0f %% of peak)  bound %.3f ms "
        "(%2.0f %%)  %.2f GFLOP, %.0f MB of traffic at least, %.0f MiB held at most; products %.2f GFLOP, %.1f %% of "
        "them by oneDNN\n",
        m.model.c_str(), options.size.c_str(), options.threads, m.ms.median, m.ms.p10, m.ms.p90, examples, gflops,
        100 * gflops / peaks.gflops, roofline, 100 * roofline / m.ms.median, m.cost.flops / 1e9, m.cost.bytes / 1e6,
        m.memory_mib, m.product_flops / 1e9, 100 * onednn_share);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Times whole training steps"};
  app.add_option("--model", options.model, "a rung of the ladder, several with commas, or all")->capture_default_str();
  app.add_option("--size", options.size, "small, medium or large")->capture_default_str();
  app.add_option("--threads", options.threads)->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--batch", options.batch, "instead of the size's own")->check(CLI::PositiveNumber);
  app.add_option("--history", options.history, "items of history, instead of the size's own")
      ->check(CLI::PositiveNumber);
  app.add_option("--rows", options.rows, "rows of both tables, instead of the size's own")->check(CLI::PositiveNumber);
  app.add_option("--batches", options.batches, "different batches, used in turn")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--repeats", options.repeats, "steps to time; default: as many as fit --seconds")
      ->check(CLI::PositiveNumber);
  app.add_option("--seconds", options.seconds)->capture_default_str()->check(CLI::PositiveNumber);
  std::string products = "auto";
  app.add_option("--products", products, "who serves the matrix products: the library's rule, our own kernel, oneDNN")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "own", "onednn"}));
  app.add_flag("--json", options.json, "one JSON object a line");
  CLI11_PARSE(app, argc, argv);

  try {
    set_num_threads(options.threads);
    if (products != "auto") force_gemm_backend(products == "own" ? GemmBackend::own : GemmBackend::onednn);
    std::vector<std::string> models = CLI::detail::split(options.model, ',');
    if (options.model == "all") models = rung_names();
    std::vector<Measured> measured;
    for (const std::string& model : models) measured.push_back(measure(options, model));
    const Roofline peaks = measure_roofline(options.threads);  // last: its buffers would count as held memory
    if (!options.json)
      std::printf("%s kernels; peaks %.0f GFLOP/s, %.1f GB/s read, %.1f GB/s copied\n",
                  kernels::isa_name(kernels::active_isa()), peaks.gflops, peaks.read_gbs, peaks.copy_gbs);
    for (const Measured& m : measured) print(options, m, peaks);
  } catch (const Error& error) {
    std::fprintf(stderr, "bench_step: %s\n", error.what());
    return 2;
  }
  return 0;
}
