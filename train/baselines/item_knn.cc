#include <twotower/train/baselines/item_knn.h>

#include <cmath>

namespace tt {

void ItemKnn::fit(const Dataset& data) {
  known_.emplace(data);
  const int64_t items = data.num_items();
  const SparseRows by_user = make_rows(data.num_users(), items, [&](int64_t u, RowSum&) {
    std::vector<SparseRows::Entry> row;
    for (const int32_t item : KnownActions::distinct(known_->in_train(u))) row.push_back({item, 1});
    return row;
  });
  const SparseRows by_item = transpose(by_user, items);
  const auto users = [&](int64_t item) { return static_cast<double>(by_item.row(item).size()); };
  const SparseRows neighbours = make_rows(items, items, [&](int64_t j, RowSum& sum) {
    for (const auto& [user, one] : by_item.row(j))
      for (const auto& [i, one_too] : by_user.row(user))
        if (i != j) sum.add(i, 1);
    std::vector<SparseRows::Entry> row = sum.take();
    for (auto& [i, similarity] : row)
      similarity = static_cast<float>(static_cast<double>(similarity) /
                                      (std::sqrt(users(i) * users(j)) + options_.itemknn.shrinkage));
    if (static_cast<int64_t>(row.size()) <= options_.itemknn.neighbours) return row;
    std::stable_sort(row.begin(), row.end(), [](const auto& a, const auto& b) { return a.value > b.value; });
    row.resize(static_cast<size_t>(options_.itemknn.neighbours));
    std::sort(row.begin(), row.end(), [](const auto& a, const auto& b) { return a.column < b.column; });
    return row;
  });
  speaks_for_ = transpose(neighbours, items);
}

void ItemKnn::score(std::span<const UserMoment> users, float* out) const {
  const int64_t items = speaks_for_.rows();
  parallel_for(0, static_cast<int64_t>(users.size()), 8, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      float* row = out + q * items;
      std::fill_n(row, items, 0.0f);
      for (const int32_t i : KnownActions::distinct(known_->of(users[static_cast<size_t>(q)])))
        for (const auto& [j, similarity] : speaks_for_.row(i)) row[j] += similarity;
    }
  });
}

}  // namespace tt
