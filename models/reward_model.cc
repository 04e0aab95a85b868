#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/matrix/matmul.h>
#include <twotower/autograd/ops/matrix/shaping.h>
#include <twotower/autograd/ops/rows/dot.h>
#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/models/debias.h>
#include <twotower/models/reward_model.h>

namespace tt {
namespace {

// Narrow, so that what it says of a pair off the log follows from what the ranker said of others; wide enough for a
// dozen tastes.
constexpr int64_t kWidth = 32, kHidden = 64;
// Users and items begin near their features' prediction and leave it only as far as the scores ask.
constexpr double kEmbeddingInit = 0.02;

ModelConfig reward_config(const ModelConfig& policy) {
  ModelConfig c = policy;
  c.user_id_embedding_dim = c.item_id_embedding_dim = kWidth;
  c.hidden_size = kHidden;
  c.embedding_init = kEmbeddingInit;
  c.tower_head = "linear";
  c.normalize = false;
  c.attention_layers = 0;  // the newest item and the mean of all
  c.attention_heads = 1;
  c.transformer_blocks = c.causal = false;
  return c;
}

// Column t of x [N, T], each element through f; NaN stays NaN.
template <class T, class F>
Tensor<const T> column(Arena& arena, Tensor<const T> x, int64_t t, F f) {
  const int64_t n = x.rows();
  const Tensor<T> out = make_tensor<T>(arena, {n});
  for (int64_t k = 0; k < n; ++k) out[k] = f(x.row(k)[t]);
  return out;
}

// The entries that were shown, so that they have labels: those of which the ranker spoke, or the others.
template <class T>
struct Shown {
  Tensor<const int64_t> rows;   // [S] of the N entries
  Tensor<const T> labels;       // [S, T]
  Tensor<const T> examination;  // [S], or empty
};

template <class T>
Shown<T> shown_pairs(Arena& arena, const ListBatch<T>& batch, bool scored) {
  if (!batch.labels) return {};
  const int64_t n = batch.labels.rows(), tasks = batch.labels.cols();
  const Tensor<int64_t> rows = make_tensor<int64_t>(arena, {n});
  int64_t count = 0;
  const auto has_score = [&](int64_t k) {
    return batch.ranker_scores.numel() > 0 && !std::isnan(batch.ranker_scores.row(k)[0]);
  };
  for (int64_t k = 0; k < n; ++k)
    if (!std::isnan(batch.labels.row(k)[0]) && has_score(k) == scored) rows[count++] = k;
  const Tensor<T> labels = make_tensor<T>(arena, {count, tasks});
  const Tensor<T> examination = batch.examination.numel() > 0 ? make_tensor<T>(arena, {count}) : Tensor<T>();
  for (int64_t k = 0; k < count; ++k) {
    std::copy_n(batch.labels.row(rows[k]), tasks, labels.row(k));
    if (examination.numel() > 0) examination[k] = batch.examination[rows[k]];
  }
  return {{rows.data(), {count}}, labels, examination};
}

}  // namespace

template <class T>
RewardModel<T>::RewardModel(const ModelConfig& policy, const std::string& prefix, uint64_t seed)
    : config_(reward_config(policy)),
      parameters_(std::make_unique<ParameterSet<T>>(seed)),
      item_tower_(*parameters_, prefix + ".", config_),
      user_tower_(*parameters_, prefix + ".", config_, item_tower_.table()) {
  const int64_t tasks = config_.num_tasks();
  gate_ = parameters_->add(prefix + ".gate", {tasks, kWidth}, Initializer::constant(1));
  item_weight_ = parameters_->add(prefix + ".item_weight", {tasks, kWidth}, Initializer::constant(0));
  user_weight_ = parameters_->add(prefix + ".user_weight", {tasks, kWidth}, Initializer::constant(0));
  bias_ = parameters_->add(prefix + ".bias", {tasks}, Initializer::constant(0));
}

template <class T>
auto RewardModel<T>::view(Tape<T>& tape, Variable<T> u, int64_t t) const -> View {
  const auto of = [&](Parameter<T>* p) { return reshape(slice_rows(tape.parameter(*p), t, t + 1), {kWidth}); };
  const Variable<T> level = add(matmul(u, reshape(of(user_weight_), {1, kWidth}), /*transpose_b=*/true),
                                slice_rows(tape.parameter(*bias_), t, t + 1));
  return {add(multiply(u, of(gate_)), of(item_weight_)), level};
}

template <class T>
Variable<T> RewardModel<T>::fit_loss(Tape<T>& tape, const ListBatch<T>& batch, double label_weight) const {
  const int64_t tasks = config_.num_tasks(), n = batch.lists.columns.numel();
  const Variable<T> u = user_tower_.vectors(tape, user_tower_.input(tape, batch.user));
  const Variable<T> v = item_tower_(tape, batch.item);
  const Tensor<const int64_t> row_of = row_of_entries(batch.lists, tape.arena());
  Variable<T> total;
  const auto add_part = [&](Variable<T> part) { total = total ? add(total, part) : part; };
  const Shown<T> unscored = shown_pairs(tape.arena(), batch, false);
  const Shown<T> scored = label_weight > 0 ? shown_pairs(tape.arena(), batch, true) : Shown<T>();
  for (int64_t t = 0; t < tasks; ++t) {
    const View own = view(tape, u, t);
    const Variable<T> logits =
        add(list_scores(own.vectors, v, batch.lists), reshape(embedding(own.level, row_of), {n}));
    if (batch.ranker_scores)
      add_part(list_squared_error(logits, batch.lists.offsets,
                                  column(tape.arena(), batch.ranker_scores, t, [](T p) { return log_odds(p); }),
                                  Tensor<const T>()));
    const auto add_labels = [&](const Shown<T>& shown, double weight) {
      if (shown.rows.numel() == 0) return;
      add_part(scale(label_loss(embedding(reshape(logits, {n, 1}), shown.rows),
                                column(tape.arena(), shown.labels, t, [](T x) { return x; }), shown.examination),
                     static_cast<T>(weight)));
    };
    add_labels(unscored, 1);
    add_labels(scored, label_weight);
  }
  return scale(total, T(1) / static_cast<T>(tasks));
}

template <class T>
Variable<T> RewardModel<T>::users(Tape<T>& tape, const UserInputs<T>& users) const {
  const Variable<T> u = user_tower_.vectors(tape, user_tower_.input(tape, users));
  const int64_t tasks = config_.num_tasks(), b = u.rows();
  const Tensor<T> out = tape.make({b, user_width()});
  for (int64_t t = 0; t < tasks; ++t) {
    const View own = view(tape, u, t);
    for (int64_t i = 0; i < b; ++i) {
      T* to = out.row(i) + t * (kWidth + 1);
      std::copy_n(own.vectors.value().row(i), kWidth, to);
      to[kWidth] = own.level.value()[i];
    }
  }
  return tape.constant(out);
}

template <class T>
void RewardModel<T>::probabilities(const T* user, const T* item, T* out) const {
  for (int64_t t = 0; t < config_.num_tasks(); ++t, user += kWidth + 1) {
    const T logit = user[kWidth] + dot_in_lanes(user, item, kWidth);
    out[t] = 1 / (1 + std::exp(-logit));
  }
}

template class RewardModel<float>;
template class RewardModel<double>;

}  // namespace tt
