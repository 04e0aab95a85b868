#include <twotower/tensor/error.h>
#include <twotower/train/batches/training_rows.h>
#include <twotower/train/data/positives.h>

#include <algorithm>

namespace tt {

bool learns_from_all_rows(const ModelConfig& m) {
  return m.debias != "none" || m.light_ranker || m.alignment != "none";
}

std::vector<int64_t> training_rows(const Dataset& data, const ModelConfig& model, const BatchOptions& train) {
  const Impressions& log = data.split(Split::train);
  const bool automatic = train.rows == "auto" || train.rows == "sequences";
  const bool all = automatic ? learns_from_all_rows(model) : train.rows == "all";
  check(model.num_tasks() == data.num_tasks(), "dataset " + data.dir(), "it has ", data.num_tasks(),
        " labels, model.user_value_weights ", model.num_tasks(), " weights; give one a label");
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < log.size; ++i)
    if (all || has_value(log.labels + i * data.num_tasks(), model.user_value_weights)) rows.push_back(i);
  return rows;
}

LearntRows learnt_rows(const Dataset& data, const ModelConfig& model, const BatchOptions& train,
                       const RankerPairs& pairs) {
  const Impressions& log = data.split(Split::train);
  LearntRows learnt;
  learnt.users.assign(static_cast<size_t>(data.num_users()), 0);
  const bool all_items =
      model.full_softmax || model.mixed_negatives > 0 || (model.aligns_with_model() && train.list_uniform > 0);
  learnt.items.assign(static_cast<size_t>(data.num_items()), all_items);
  if (model.needs_lists()) {
    for (int64_t row = 0; row < log.size; ++row)
      learnt.users[static_cast<size_t>(log.user[row])] = learnt.items[static_cast<size_t>(log.item[row])] = 1;
    for (const int32_t user : pairs.user) learnt.users[static_cast<size_t>(user)] = 1;
    for (const int32_t item : pairs.item) learnt.items[static_cast<size_t>(item)] = 1;
  }
  // How many more of the histories hold an action than its user's action before it.
  std::vector<int32_t> steps(model.history ? static_cast<size_t>(data.history_offsets()[data.num_users()] + 1) : 0, 0);
  for (const int64_t row : training_rows(data, model, train)) {
    learnt.users[static_cast<size_t>(log.user[row])] = 1;
    learnt.items[static_cast<size_t>(log.item[row])] = 1;
    if (!model.history) continue;
    const int64_t first = data.history_offsets()[log.user[row]], end = log.history_end[row];
    ++steps[static_cast<size_t>(first + std::max<int64_t>(0, end - model.user_history_seqlen))];
    --steps[static_cast<size_t>(first + end)];
  }
  int64_t holding = 0;
  for (size_t a = 0; a + 1 < steps.size(); ++a) {
    holding += steps[a];
    if (holding > 0) learnt.items[static_cast<size_t>(data.history_items()[a])] = 1;
  }
  if (train.user_id_dropout == 1) std::fill(learnt.users.begin(), learnt.users.end(), 0);
  return learnt;
}

}  // namespace tt
