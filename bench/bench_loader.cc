// What a batch costs before it reaches the model: shuffling and gathering it from a dataset folder at
// `medium`'s shape, on one thread, beside a training step of the base model.   bench_loader [--threads N]
// [--rows N] [--json]

#include <twotower/tensor/error.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/batches/loader.h>
#include <twotower/train/data/dataset_writer.h>
#include <twotower/train/fit/training_step.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "bench/shared/timing.h"
#include "bench/shared/workload.h"

namespace {

using namespace tt;
using namespace tt::bench;

FeatureMatrix random_features(int64_t rows, int64_t width, uint64_t stream) {
  FeatureMatrix m;
  m.rows = rows;
  for (int64_t c = 0; c < width; ++c) m.columns.push_back("f" + std::to_string(c));
  m.values.resize(static_cast<size_t>(rows * width));
  Philox(1, stream).fill_normal(m.values.data(), rows * width, 0.0f, 1.0f);
  return m;
}

std::vector<std::string> names(int64_t n) {
  std::vector<std::string> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(std::to_string(i));
  return out;
}

// Uniform users and items, as in bench_step; every user of the log has a history of about 50 / 2 items on
// average.
void write_log(const std::string& dir, const Workload& w, int64_t rows) {
  DatasetContent content;
  content.source = "bench_loader", content.protocol = "none: random rows";
  for (int64_t t = 0; t < Workload::kTasks; ++t) content.tasks.push_back("task" + std::to_string(t));
  content.user_ids = names(w.users), content.item_ids = names(w.items);
  content.user_features = random_features(w.users, w.user_features, 1);
  content.item_features = random_features(w.items, w.item_features, 2);
  const auto active = static_cast<uint64_t>(std::max<int64_t>(1, std::min(w.users, rows / w.history)));
  const Philox random(1, 3);
  InteractionColumns& log = content.train;
  for (int64_t i = 0; i < rows; ++i) {
    const auto at = static_cast<uint64_t>(i) * 4;
    const uint64_t user = random.below(at, active) * (static_cast<uint64_t>(w.users) / active);
    log.user.push_back(static_cast<int32_t>(user));
    log.item.push_back(static_cast<int32_t>(random.below(at + 1, static_cast<uint64_t>(w.items))));
    log.position.push_back(static_cast<int32_t>(random.below(at + 2, 20)));
    log.time.push_back(static_cast<double>(i));
    for (int64_t t = 0; t < Workload::kTasks; ++t) log.labels.push_back(t == 0 ? 1.0f : 0.0f);
  }
  write_dataset(dir, content);
}

// Milliseconds a batch of one whole epoch, its shuffle included; the median of several epochs.
double loader_ms(const Dataset& data, const ModelConfig& model, const TrainConfig& train) {
  Loader loader(data, model, train);
  std::vector<double> times;
  for (int64_t epoch = 0; epoch < 6; ++epoch) {
    const double ms = timed_ms([&] {
      loader.start_epoch(epoch);
      while (loader.next() != nullptr) {
      }
    });
    if (epoch > 0) times.push_back(ms / static_cast<double>(loader.batches_per_epoch()));
  }
  return spread(times).median;
}

double step_ms(const Workload& w, const ModelConfig& config) {
  TwoTower<float> model(config);
  TrainingStep step(model, TrainConfig{});
  const WorkloadBatches batches(w, 8);
  std::vector<double> times;
  for (size_t i = 0; i < 400; ++i) {
    const Batch<float> batch = batches[i % batches.size()];
    const double ms = timed_ms([&] { step.run(batch, 1e-3); });
    if (i >= 16) times.push_back(ms);
  }
  return spread(times).median;
}

}  // namespace

int main(int argc, char** argv) {
  int threads = 2;
  int64_t rows = 300000;
  bool json = false;
  CLI::App app{"Times the loader beside a training step"};
  app.add_option("--threads", threads, "of the step")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--rows", rows, "impressions of the log")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_flag("--json", json, "one JSON object a line");
  CLI11_PARSE(app, argc, argv);
  const std::string dir =
      (std::filesystem::temp_directory_path() / ("bench_loader." + std::to_string(getpid()))).string();
  int status = 0;
  try {
    set_num_threads(threads);
    const Workload w = find_workload("medium");
    write_log(dir, w, rows);
    const Dataset data = Dataset::open(dir);
    TrainConfig train;
    train.batch_size = w.batch, train.prefetch = false;  // here, not beside the step
    const ModelConfig base = workload_config(w, "base");
    ModelConfig defaults = base;
    defaults.mask_accidental_hits = true, defaults.log_q = "stream";
    const double step = step_ms(w, base);
    const auto line = [&](const char* what, const ModelConfig& model) {
      const double ms = loader_ms(data, model, train);
      std::printf(json ? "{\"loader\": \"%s\", \"size\": \"medium\", \"ms_a_batch\": %.4f, \"base_step_ms\": %.4f, "
                         "\"share\": %.4f}\n"
                       : "loader %-28s %8.4f ms a batch; a base step takes %.3f ms: share %.3f\n",
                  what, ms, step, ms / step);
    };
    line("base", base);
    line("base, masks and log Q", defaults);
    line("history", workload_config(w, "history"));
  } catch (const Error& error) {
    std::fprintf(stderr, "bench_loader: %s\n", error.what());
    status = 2;
  }
  std::error_code ignored;
  std::filesystem::remove_all(dir, ignored);
  return status;
}
