#include "bench/shared/workload.h"

#include <twotower/tensor/error.h>
#include <twotower/tensor/random.h>

namespace tt::bench {
namespace {

const Workload kWorkloads[] = {
    //            B    H    DU   DI  IU  II    users    items
    {"small", 32, 128, 50, 40, 20, 30, 100, 150},
    {"medium", 1024, 50, 64, 64, 64, 64, 100000, 100000},
    {"large", 4096, 50, 128, 128, 64, 64, 1000000, 1000000},
};

constexpr int64_t kPositions = 20;
constexpr double kLabelRate = 0.3;

size_t as_size(int64_t n) { return static_cast<size_t>(n); }

}  // namespace

Workload find_workload(const std::string& name) {
  for (const Workload& w : kWorkloads)
    if (w.name == name) return w;
  fail("bench", "there is no size \"", name, "\"; choose small, medium or large");
}

ModelConfig workload_config(const Workload& w, const std::string& rung) {
  ModelConfig config;
  config.compat = "reference";
  config.apply_compat();
  config.embedding_init = 0.05;
  config.position_init = "one";
  config.user_id_hash_size = w.users, config.item_id_hash_size = w.items;
  config.user_id_embedding_dim = w.user_width, config.item_id_embedding_dim = w.item_width;
  config.user_features_size = w.user_features, config.item_features_size = w.item_features;
  config.user_history_seqlen = w.history;
  config.attention_heads = 4, config.attention_layers = 3;
  config.user_value_weights = {0.5, 0.3, 0.2};
  config.num_items = Workload::kMipsItems, config.num_mips_items = Workload::kMipsItems;
  config.num_ranker_user_embeddings = Workload::kRankerVectors;
  apply_rung(config, rung);
  return config;
}

WorkloadBatches::WorkloadBatches(const Workload& workload, int count, uint64_t seed)
    : workload_(workload), data_(as_size(count)) {
  const Workload& w = workload_;
  uint64_t stream = 0;
  const auto ids = [&](std::vector<int64_t>& to, int64_t n, int64_t below) {
    const Philox random(seed, ++stream);
    to.resize(as_size(n));
    for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<int64_t>(random.below(i, static_cast<uint64_t>(below)));
  };
  const auto normals = [&](std::vector<float>& to, int64_t n) {
    to.resize(as_size(n));
    Philox(seed, ++stream).fill_normal(to.data(), n, 0.0f, 1.0f);
  };
  const auto uniforms = [&](std::vector<float>& to, int64_t n) {
    to.resize(as_size(n));
    Philox(seed, ++stream).fill_uniform(to.data(), n, 0.0f, 1.0f);
  };
  for (Columns& c : data_) {
    ids(c.user, w.batch, w.users);
    ids(c.item, w.batch, w.items);
    ids(c.history, w.batch * w.history, w.items);
    c.offsets.resize(as_size(w.batch) + 1);
    for (size_t i = 0; i < c.offsets.size(); ++i) c.offsets[i] = static_cast<int64_t>(i) * w.history;
    normals(c.user_features, w.batch * w.user_features);
    normals(c.item_features, w.batch * w.item_features);
    uniforms(c.labels, w.batch * Workload::kTasks);
    for (float& label : c.labels) label = label < kLabelRate ? 1.0f : 0.0f;
    uniforms(c.ranker_scores, w.batch * Workload::kTasks);
    const Philox random(seed, ++stream);
    c.position.resize(as_size(w.batch));
    for (size_t i = 0; i < c.position.size(); ++i) c.position[i] = static_cast<int32_t>(random.below(i, kPositions));
  }
}

Batch<float> WorkloadBatches::operator[](size_t i) const {
  const Columns& c = data_[i];
  const Workload& w = workload_;
  const int64_t b = w.batch;
  Batch<float> batch;
  batch.user.id = {c.user.data(), {b}};
  batch.user.features = {c.user_features.data(), {b, w.user_features}};
  batch.user.history_offsets = {c.offsets.data(), {b + 1}};
  batch.user.history_items = {c.history.data(), {b * w.history}};
  batch.item.id = {c.item.data(), {b}};
  batch.item.features = {c.item_features.data(), {b, w.item_features}};
  batch.position = {c.position.data(), {b}};
  batch.labels = {c.labels.data(), {b, Workload::kTasks}};
  batch.ranker_scores = {c.ranker_scores.data(), {b, Workload::kTasks}};
  return batch;
}

}  // namespace tt::bench
