#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/matrix/shaping.h>
#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/models/tower_distillation.h>

namespace tt {

template <class T>
TowerDistillation<T>::TowerDistillation(ParameterSet<T>& parameters, const ModelConfig& config) : config_(config) {
  if (config.distill_towers != "points") return;
  scale_ = parameters.add("tower_distillation.scale", {1}, Initializer::constant(1));
  level_.emplace(parameters, "tower_distillation.level", config.item_id_embedding_dim, 1);
}

template <class T>
Variable<T> TowerDistillation<T>::loss(Tape<T>& tape, Variable<T> u, Variable<T> scores,
                                       const ListBatch<T>& batch) const {
  const int64_t n = scores.numel();
  check(batch.ranker_scores.numel() > 0, "distill",
        "the lists have no \"ranker_scores\"; distillation learns from them: give them, or set distill_towers = "
        "\"none\"");
  const Tensor<T> target = tape.make({n});
  for (int64_t k = 0; k < n; ++k) target[k] = mean_log_odds(batch.ranker_scores.row(k), config_.user_value_weights);
  const Tensor<const int64_t> offsets = batch.lists.offsets;
  if (config_.distill_towers == "margins") return list_margin(scores, offsets, Tensor<const T>(target), {});
  if (config_.distill_towers == "lists") return list_kl(scores, offsets, Tensor<const T>(target), {});
  const Variable<T> level = embedding((*level_)(tape, u), row_of_entries(batch.lists, tape.arena()));
  const Variable<T> calibrated = add(multiply(scores, tape.parameter(*scale_)), reshape(level, {n}));
  return list_squared_error(calibrated, offsets, Tensor<const T>(target), {});
}

template class TowerDistillation<float>;
template class TowerDistillation<double>;

}  // namespace tt
