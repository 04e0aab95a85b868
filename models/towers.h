#pragma once
// The two towers.
//   user: u = Linear(concat[ E_user[id], MLP(features), attended history, mean history ])      [B, DI]
//   item: v = Linear(concat[ E_item[id], MLP(features) ])                                      [C, DI]
// each optionally scaled to length 1, and without the Linear if asked for: then the blocks are added up, and a model of
// ids alone is matrix factorisation. A model without features has no feature MLP and a narrower Linear.

#include <twotower/layers/linear.h>
#include <twotower/layers/mlp.h>
#include <twotower/models/batch.h>
#include <twotower/models/config.h>
#include <twotower/models/history_encoder.h>

#include <optional>

namespace tt {

template <class T>
class ItemTower {
 public:
  ItemTower(ParameterSet<T>& parameters, const std::string& prefix, const ModelConfig& config);
  Variable<T> operator()(Tape<T>& tape, const ItemInputs<T>& items) const;  // [C, DI]
  Parameter<T>* table() const { return table_; }

 private:
  bool normalize_;
  int64_t features_width_;
  Parameter<T>* table_;  // E_item [rows, DI]
  std::optional<Mlp<T>> features_;
  std::optional<Linear<T>> head_;  // absent: the blocks are added up
};

template <class T>
class UserTower {
 public:
  // `item_table` is E_item: history items are looked up in the same table.
  UserTower(ParameterSet<T>& parameters, const std::string& prefix, const ModelConfig& config,
            Parameter<T>* item_table);

  // The blocks of user_input, side by side; the light ranker reads them too.
  Blocks<T> input(Tape<T>& tape, const UserInputs<T>& users) const;
  Variable<T> vectors(Tape<T>& tape, const Blocks<T>& input) const;  // [B, DI]
  int64_t input_width() const { return input_width_; }

 private:
  bool normalize_;
  int64_t features_width_, input_width_;
  Parameter<T>* table_;  // E_user [rows, DU]
  std::optional<Mlp<T>> features_;
  std::optional<HistoryEncoder<T>> history_;
  std::optional<Linear<T>> head_;  // absent: the blocks are added up
};

}  // namespace tt
