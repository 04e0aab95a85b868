#pragma once
// A two-tower model, put together from its parts by a config: it has a user tower and an item tower and, if asked for,
// a history encoder, a debiaser, a light ranker with or without distillation, and alignment. Any combination works.
//
//   ModelConfig config;  config.user_id_hash_size = ...;
//   TwoTower<float> model(config, /*seed=*/1);
//   Arena arena;  Tape<float> tape(arena);
//   auto out = model.loss(tape, batch);
//   adam.step(model.parameters().all(), tape.backward(out.total));

#include <twotower/models/alignment.h>
#include <twotower/models/debias.h>
#include <twotower/models/light_ranker.h>
#include <twotower/models/list_batch.h>
#include <twotower/models/tower_distillation.h>
#include <twotower/models/towers.h>

#include <memory>
#include <optional>

namespace tt {

template <class T>
struct LossOutput {
  Variable<T> total;  // [1]
  Variable<T> u, v;   // [B, DI] users, and the items shown (of rows with several positives: all columns)
  // The parts of the total; absent if the model has no such part.
  Variable<T> retrieval, debias, ranker, distillation, proxy, alignment;
};

// What lists of items teach: distillation into the towers, distillation of the light ranker, alignment.
template <class T>
struct ListLossOutput {
  Variable<T> total;                      // [1]
  Variable<T> towers, ranker, alignment;  // absent if the model has no such part
  T reward = 0;                           // mean value of the policy's choice, before this step
};

template <class T>
class TwoTower {
 public:
  explicit TwoTower(const ModelConfig& config, uint64_t seed = 1);
  // Over values that are there already (layers/parameter_set.h), for serving: it cannot be trained.
  TwoTower(const ModelConfig& config, typename ParameterSet<T>::Source source);

  // One forward pass with every loss that the config asks for. `alignment_on = false` leaves the alignment move out
  // (its proxy is fitted all the same): for the steps before alignment starts.
  LossOutput<T> loss(Tape<T>& tape, const Batch<T>& batch, bool alignment_on = true) const;

  // The same from lists, for a config that needs_lists(). With alignment_on the batch's entries have values.
  ListLossOutput<T> list_loss(Tape<T>& tape, const ListBatch<T>& batch, bool alignment_on = true) const;

  Variable<T> users(Tape<T>& tape, const UserInputs<T>& users) const;  // [B, DI]
  Variable<T> items(Tape<T>& tape, const ItemInputs<T>& items) const;  // [C, DI]
  // User vectors and the light ranker's view of the user, from one pass. `ranker` is absent without a light ranker.
  struct Served {
    Variable<T> u, ranker;  // [B, DI], [B, NU * DI]
  };
  Served serve(Tape<T>& tape, const UserInputs<T>& users) const;
  // The light ranker's values of one user's candidates. ranker: [NU * DI], u: [DI], items: [C, DI]; values: [C].
  void rank(Tape<T>& tape, const T* ranker, const T* u, Tensor<const T> items, T* values) const;

  // Freezes a copy of the towers as they are, the policy that expected_reward and dpo stay near; nothing for a model
  // that has no such alignment. Before the first call the model is its own anchor.
  void set_anchor();
  bool has_anchor() const { return anchor_ != nullptr; }
  ParameterSet<T>* anchor_parameters() const { return anchor_ ? &anchor_->parameters : nullptr; }

  // Parameters that learn at another rate than the towers: small estimators beside them. For Optimizer::set_rate_scale.
  struct RateScale {
    const Parameter<T>* parameter;
    double scale;
  };
  std::vector<RateScale> rate_scales() const;

  const ModelConfig& config() const { return config_; }
  ParameterSet<T>& parameters() const { return *parameters_; }
  const Debias<T>* debias() const { return debias_ ? &*debias_ : nullptr; }
  const LightRanker<T>* light_ranker() const { return light_ranker_ ? &*light_ranker_ : nullptr; }
  const Alignment<T>* alignment() const { return alignment_ ? &*alignment_ : nullptr; }
  T temperature() const;

 private:
  TwoTower(const ModelConfig& config, std::unique_ptr<ParameterSet<T>> parameters);

  struct AnchorTowers {
    explicit AnchorTowers(const ModelConfig& config);
    ParameterSet<T> parameters;
    ItemTower<T> item_tower;
    UserTower<T> user_tower;
    Parameter<T>* log_temperature = nullptr;  // a learned temperature is frozen, too
  };

  Variable<T> tau(Tape<T>& tape) const;
  Variable<T> weights(Tape<T>& tape, const Batch<T>& batch, Variable<T> u, Variable<T>* debias_loss) const;
  void check_batch(const Batch<T>& batch) const;
  Variable<T> list_alignment(Tape<T>& tape, const ListBatch<T>& batch, Variable<T> scores, T* reward) const;
  Variable<T> list_ranker_loss(Tape<T>& tape, const ListBatch<T>& batch, const Blocks<T>& user_input, Variable<T> u,
                               Variable<T> v) const;

  ModelConfig config_;
  std::unique_ptr<ParameterSet<T>> parameters_;
  ItemTower<T> item_tower_;
  UserTower<T> user_tower_;
  Parameter<T>* log_temperature_ = nullptr;
  std::optional<Debias<T>> debias_;
  std::optional<LightRanker<T>> light_ranker_;
  std::optional<TowerDistillation<T>> distillation_;
  std::optional<Alignment<T>> alignment_;
  std::unique_ptr<AnchorTowers> anchor_;
};

}  // namespace tt
