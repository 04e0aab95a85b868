#include <twotower/tensor/error.h>
#include <twotower/train/batches/user_rows.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace tt {

UserRows::UserRows(const Dataset& data, const ModelConfig& model, const BatchOptions& train,
                   const std::vector<int64_t>& impressions)
    : compete_(!model.mask_user_positives) {
  check(model.full_softmax, "config",
        "train.rows = \"users\" needs every item as a column; set full_softmax = true, or rows = \"positive\"");
  check(
      !model.history && model.debias == "none" && !model.light_ranker && model.alignment == "none", "config",
      "train.rows = \"users\" has no single impressions, which history, debias, light_ranker and alignment learn from; "
      "set rows = \"auto\"");
  check(model.hard_negatives == 0, "config", "train.rows = \"users\" compares all items; set hard_negatives = 0");
  const Impressions& log = data.split(Split::train);
  std::vector<std::pair<int32_t, int32_t>> pairs;
  for (const int64_t r : impressions) pairs.emplace_back(log.user[r], log.item[r]);
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());

  offsets_.assign(static_cast<size_t>(data.num_users()) + 1, 0);
  for (const auto& [user, item] : pairs) {
    ++offsets_[static_cast<size_t>(user) + 1];
    items_.push_back(item);
  }
  std::partial_sum(offsets_.begin(), offsets_.end(), offsets_.begin());
  value_.assign(static_cast<size_t>(data.num_users()), 0);
  for (size_t u = 0; u < value_.size(); ++u) {
    const int64_t n = offsets_[u + 1] - offsets_[u];
    if (n == 0) continue;
    users_.push_back(static_cast<int64_t>(u));
    value_[u] = static_cast<float>(std::pow(static_cast<double>(n), train.user_weight_power));
  }
}

void UserRows::fill(Batch<float>& batch, const int64_t* users, int64_t n, Arena& arena) const {
  const Tensor<int64_t> offsets = make_tensor<int64_t>(arena, {n + 1});
  const Tensor<float> value = make_tensor<float>(arena, {n});
  offsets[0] = 0;
  for (int64_t i = 0; i < n; ++i) {
    const auto u = static_cast<size_t>(users[i]);
    offsets[i + 1] = offsets[i] + offsets_[u + 1] - offsets_[u];
    value[i] = value_[u];
  }
  const Tensor<int32_t> columns = make_tensor<int32_t>(arena, {offsets[n]});
  for (int64_t i = 0; i < n; ++i)
    std::copy_n(items_.data() + offsets_[static_cast<size_t>(users[i])], offsets[i + 1] - offsets[i],
                columns.data() + offsets[i]);
  batch.value = value;
  batch.candidates.positives = {offsets, columns, compete_};
}

}  // namespace tt
