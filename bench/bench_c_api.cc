// Times one user end to end through the C interface: features in words, a history of item ids, the user tower with its
// history encoder, a search through all items, the light ranker over the candidates, ids back.
//   bench_c_api --items 1000000 --index int8 --callers 1,2 --calls 2000 [--json]

#include <twotower/models/bundle/writer.h>
#include <twotower/models/retrieval/c_api/twotower.h>
#include <twotower/models/retrieval/index/stored_index.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/memory.h>
#include <twotower/tensor/random.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "bench/shared/cost.h"
#include "bench/shared/roofline.h"
#include "bench/shared/timing.h"

namespace {

using namespace tt;
using namespace tt::bench;

struct Options {
  int64_t items = 1000000, history = 50, k = 10, calls = 2000;
  std::vector<int> callers = {1, 2};
  std::string index = "exact";
  bool json = false;
};

constexpr int64_t kMet = 100000;  // items that training has met; histories are of these

constexpr const char* kUserColumns =
    R"({"columns": ["age", "town=a", "town=b", "town=c", "likes=x", "likes=y", "likes=z"], "sources": [
        {"name": "age", "kind": "numeric", "first": 0, "width": 1, "mean": 40.0, "stddev": 12.0},
        {"name": "town", "kind": "categorical", "first": 1, "width": 3, "vocabulary": ["a", "b", "c"]},
        {"name": "likes", "kind": "multi", "first": 4, "width": 3, "vocabulary": ["x", "y", "z"]}]})";
constexpr const char* kItemColumns = R"({"columns": ["constant"]})";

// A bundle of the rung `light` with random weights and vectors: speed does not depend on what they say.
void write(const std::string& path, const Options& options) {
  ModelConfig config;
  apply_rung(config, "light");
  const int64_t met = std::min(options.items, kMet);
  config.item_id_hash_size = met, config.user_id_hash_size = 1, config.user_features_size = 7;
  config.user_history_seqlen = options.history;
  const TwoTower<float> model(config, 1);
  Pool pool;
  const Tensor<float> vectors = make_tensor<float>(pool, {options.items, config.item_id_embedding_dim});
  Philox(1, 1).fill_normal(vectors.data(), vectors.numel(), 0.0f, 0.1f);
  std::vector<std::string> names;
  for (int64_t i = 0; i < options.items; ++i) names.push_back("item " + std::to_string(i));
  const OwnedIds ids(std::vector<std::string_view>(names.begin(), names.end()));
  std::vector<uint8_t> learnt(static_cast<size_t>(options.items), 0);
  std::fill_n(learnt.begin(), met, uint8_t{1});
  BundleContent content;
  content.model = &model;
  content.user_encoder = FeatureEncoder(kUserColumns, "bench_c_api");
  content.item_encoder = FeatureEncoder(kItemColumns, "bench_c_api");
  content.items.ids = ids.table(), content.items.vectors = vectors, content.items.learnt = learnt.data();
  content.data.tasks = {"click"};
  write_bundle(path, content);
  if (options.index != "exact") write_with_index(path, Bundle::open(path), options.index);
}

void must(tt_status status) {
  if (status != TT_OK) fail("bench_c_api", tt_last_error());
}

// One caller: a session and users of its own.
class Caller {
 public:
  Caller(tt_model* model, int number, const Options& options) : options_(options) {
    must(tt_session_open(model, nullptr, &session_));
    const Philox random(2, static_cast<uint64_t>(number));
    const auto met = static_cast<uint64_t>(std::min(options.items, kMet));
    for (int64_t n = 0; n < 64 * options.history; ++n)
      items_.push_back("item " + std::to_string(random.below(static_cast<uint64_t>(n), met)));
    for (const std::string& item : items_) history_.push_back(item.c_str());
  }
  ~Caller() { tt_session_close(session_); }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  void call(int64_t n) {
    const tt_feature features[] = {{"age", "31"}, {"town", n % 2 == 0 ? "a" : "c"}, {"likes", "x|z"}};
    tt_user user = {};
    user.struct_size = sizeof user;
    user.features = features, user.num_features = 3;
    user.history = history_.data() + n % 64 * options_.history;
    user.num_history = static_cast<size_t>(options_.history);
    const tt_results* top = nullptr;
    must(tt_recommend(session_, &user, 1, static_cast<size_t>(options_.k), nullptr, &top));
    check(top->counts[0] == static_cast<size_t>(options_.k), "bench_c_api", "too few items came back");
  }

  std::vector<double> times;  // milliseconds

 private:
  const Options& options_;
  tt_session* session_ = nullptr;
  std::vector<std::string> items_;
  std::vector<const char*> history_;
};

void measure(tt_model* model, int count, double bound_ms, const Options& options) {
  std::vector<std::unique_ptr<Caller>> callers;
  for (int c = 0; c < count; ++c) callers.push_back(std::make_unique<Caller>(model, c, options));
  std::vector<std::thread> threads;
  const double ms = timed_ms([&] {
    for (auto& caller : callers)
      threads.emplace_back([&] {
        for (int64_t n = 0; n < 64; ++n) caller->call(n);  // warm
        caller->times.reserve(static_cast<size_t>(options.calls));
        for (int64_t n = 0; n < options.calls; ++n) caller->times.push_back(timed_ms([&] { caller->call(n); }));
      });
    for (std::thread& thread : threads) thread.join();
  });
  std::vector<double> all;
  for (const auto& caller : callers) all.insert(all.end(), caller->times.begin(), caller->times.end());
  std::sort(all.begin(), all.end());
  const auto at = [&](double q) { return all[static_cast<size_t>(q * static_cast<double>(all.size() - 1) + 0.5)]; };
  const double rate = 1e3 * static_cast<double>(count * (options.calls + 64)) / ms;
  if (options.json)
    std::printf(
        "{\"callers\": %d, \"median_ms\": %.4f, \"p99_ms\": %.4f, \"p999_ms\": %.4f, \"calls_per_s\": %.1f, "
        "\"roofline_ms\": %.4f}\n",
        count, at(0.5), at(0.99), at(0.999), rate, bound_ms);
  else
    std::printf(
        "%d callers  median %8.3f ms  p99 %8.3f  p99.9 %8.3f  %7.1f calls/s  bound of the search %.3f ms "
        "(%.0f %%)\n",
        count, at(0.5), at(0.99), at(0.999), rate, bound_ms, 100 * bound_ms / at(0.5));
  std::fflush(stdout);
}

void run(const Options& options) {
  const std::string path =
      std::filesystem::temp_directory_path() / ("bench_c_api_" + std::to_string(getpid()) + ".safetensors");
  struct Remove {
    const std::string& path;
    ~Remove() { std::filesystem::remove(path); }
  } remove{path};
  write(path, options);
  tt_open_options open = {};
  open.struct_size = sizeof open, open.verify = 1;  // reads all of it, so that no call waits for the disk
  tt_model* model = nullptr;
  must(tt_model_open(path.c_str(), &open, &model));
  tt_info info = {};
  info.struct_size = sizeof info;
  must(tt_model_info(model, &info));
  if (!options.json)
    std::printf("%zu items of width %zu, histories of %lld, %zu candidates put in order, the %lld best; %s\n",
                info.items, info.dimension, static_cast<long long>(options.history), info.candidates,
                static_cast<long long>(options.k), options.index.c_str());
  for (const int count : options.callers) {
    // Callers share the memory's bandwidth: each reads all rows.
    const Roofline peaks = measure_roofline(count);
    const Cost cost = retrieval_cost(options.index, 1, options.items, static_cast<int64_t>(info.dimension));
    measure(model, count, 1e3 * floor_seconds(peaks, count * cost.flops, count * cost.bytes), options);
  }
  must(tt_model_close(model));
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Times one user end to end through the C interface"};
  app.add_option("--items", options.items)->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--history", options.history, "items of a user's history")->capture_default_str();
  app.add_option("--k", options.k)->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--index", options.index, "exact, fp16, int8 or hnsw")->capture_default_str();
  app.add_option("--callers", options.callers, "threads that call, each with a session")->delimiter(',');
  app.add_option("--calls", options.calls, "of each caller")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_flag("--json", options.json, "one JSON object a line");
  CLI11_PARSE(app, argc, argv);
  try {
    run(options);
  } catch (const Error& error) {
    std::fprintf(stderr, "bench_c_api: %s\n", error.what());
    return 2;
  }
  return 0;
}
