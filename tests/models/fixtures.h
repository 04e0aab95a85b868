#pragma once
// What the model tests share: a model small enough to differentiate number by number, and a batch for it.

#include <twotower/models/two_tower.h>
#include <twotower/tensor/random.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace tt::testing {

// Odd, unequal widths, so that a mixed-up size shows.
inline ModelConfig tiny_config() {
  ModelConfig c;
  c.user_id_hash_size = 6, c.item_id_hash_size = 9;
  c.user_id_embedding_dim = 3, c.item_id_embedding_dim = 4;
  c.user_features_size = 3, c.item_features_size = 2, c.hidden_size = 5;
  c.embedding_init = 0.7;  // far from zero: softmax and attention are then far from flat
  c.user_value_weights = {1.0, 0.5};
  c.user_history_seqlen = 4, c.attention_heads = 2, c.attention_layers = 2;
  c.num_ranker_user_embeddings = 2;
  c.num_items = 3, c.num_mips_items = 5;
  return c;
}

inline ModelConfig rung_config(const std::string& rung, const std::string& compat = "default") {
  ModelConfig c = tiny_config();
  apply_rung(c, rung);
  c.compat = compat;
  c.apply_compat();
  c.embedding_init = 0.7;
  return c;
}

// A batch and its memory. The numbers are the same for float and double.
template <class T>
class TinyBatch {
 public:
  explicit TinyBatch(const ModelConfig& config, int64_t rows = 5, uint64_t seed = 3) : random_(seed) {
    Batch<T>& b = batch;
    // Users and items come again, so that there are accidental hits of both kinds.
    b.user.id = ids(rows, [&](int64_t i) { return i == 3 ? 0 : i % config.user_id_hash_size; });
    b.item.id = ids(rows, [&](int64_t i) { return i == 2 ? 1 : (i * 3 + 1) % config.item_id_hash_size; });
    b.user.features = normals(rows, config.user_features_size);
    b.item.features = normals(rows, config.item_features_size);
    b.labels = uniforms(rows, config.num_tasks());
    b.ranker_scores = uniforms(rows, config.num_tasks());
    positions_.resize(static_cast<size_t>(rows));
    for (int64_t i = 0; i < rows; ++i) positions_[static_cast<size_t>(i)] = i == 1 ? 250 : static_cast<int32_t>(i % 3);
    b.position = {positions_.data(), {rows}};
    if (config.history) add_histories(config, rows);

    int64_t columns = rows;
    if (config.full_softmax) {
      b.negatives.id = ids(config.item_id_hash_size, [](int64_t i) { return i; });
      b.negatives.features = normals(config.item_id_hash_size, config.item_features_size);
      b.candidates.target = b.item.id;
      columns = config.item_id_hash_size;
    } else {
      const int64_t mixed = config.mixed_negatives, queued = config.negative_queue;
      const Tensor<const int64_t> further =
          ids(mixed + queued, [&](int64_t i) { return (i * 5 + 1) % config.item_id_hash_size; });
      b.negatives.id = {further.data(), {mixed}};
      b.negatives.features = normals(mixed, config.item_features_size);
      if (queued > 0) b.queue = {{further.data() + mixed, {queued}}, normals(queued, config.item_id_embedding_dim)};
      if (config.mask_accidental_hits)
        b.candidates.exclude = accidental_hits(b.user.id, b.item.id, acted_on(b.labels, arena_), further, arena_);
      columns += mixed + queued;
      if (config.log_q != "none") {
        const Tensor<T> log_q = make_tensor<T>(pool_, {columns});
        for (int64_t j = 0; j < columns; ++j) log_q[j] = number(-3 + random_.normal(next_++) / 2);
        b.candidates.log_q = log_q;
      }
    }
    b.candidates.positive_uncorrected = !config.log_q_correct_positive;
    b.candidates.hard_negatives = config.hard_negatives;
  }

  void forget_position(int64_t row) { positions_[static_cast<size_t>(row)] = -1; }

  Batch<T> batch;

 private:
  static T number(double x) { return static_cast<T>(static_cast<float>(x)); }

  template <class F>
  Tensor<const int64_t> ids(int64_t n, F f) {
    const Tensor<int64_t> x = make_tensor<int64_t>(pool_, {n});
    for (int64_t i = 0; i < n; ++i) x[i] = f(i);
    return x;
  }
  Tensor<const T> normals(int64_t rows, int64_t cols) {
    if (rows * cols == 0) return {};
    const Tensor<T> x = make_tensor<T>(pool_, {rows, cols});
    for (T& v : x) v = number(random_.normal(next_++));
    return x;
  }
  Tensor<const T> uniforms(int64_t rows, int64_t cols) {
    const Tensor<T> x = make_tensor<T>(pool_, {rows, cols});
    for (T& v : x) v = number(0.05 + 0.9 * random_.uniform(next_++));
    return x;
  }
  // Lengths 3, 0, capacity, 1, 2, 3, ...: an empty one among them.
  void add_histories(const ModelConfig& config, int64_t rows) {
    const int64_t lengths[] = {3, 0, config.user_history_seqlen, 1, 2};
    const Tensor<int64_t> offsets = make_tensor<int64_t>(pool_, {rows + 1});
    for (int64_t i = 0; i < rows; ++i)
      offsets[i + 1] = offsets[i] + std::min(lengths[i % 5], config.user_history_seqlen);
    const int64_t n = offsets[rows];
    batch.user.history_offsets = offsets;
    batch.user.history_items = ids(n, [&](int64_t i) { return (i * 4 + 2) % config.item_id_hash_size; });
    if (config.history_actions == 0) return;
    const Tensor<uint8_t> flags = make_tensor<uint8_t>(pool_, {n, config.history_actions});
    for (uint8_t& f : flags) f = random_.uniform(next_++) < 0.5;
    batch.user.history_actions = flags;
  }

  Pool pool_;
  Arena arena_;
  Philox random_;
  uint64_t next_ = 0;
  std::vector<int32_t> positions_;
};

// A parameter's gradient as a dense array, whatever form it has; zeros if nothing reached it.
template <class T>
std::vector<double> dense_gradient(const Gradients<T>& gradients, const Parameter<T>& p) {
  std::vector<double> dense(static_cast<size_t>(p.value.numel()), 0.0);
  const Gradient<T> g = gradients.of(p);
  std::copy(g.dense.begin(), g.dense.end(), dense.begin());
  const int64_t d = p.value.cols();
  for (int64_t r = 0; r < g.rows.count(); ++r)
    for (int64_t j = 0; j < d; ++j)
      dense[static_cast<size_t>(g.rows.rows[r] * d + j)] += static_cast<double>(g.rows.values.row(r)[j]);
  return dense;
}

template <class T>
void copy_parameters(const ParameterSet<T>& from, const ParameterSet<T>& to) {
  for (const Parameter<T>* p : from.all()) std::copy(p->value.begin(), p->value.end(), to.find(p->name)->value.begin());
}

}  // namespace tt::testing
