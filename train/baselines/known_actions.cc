#include <twotower/train/baselines/known_actions.h>

#include <algorithm>

namespace tt {

int64_t KnownActions::count(const UserMoment& user) const {
  return user.user < 0 ? 0 : std::max(user.history_end, train_[static_cast<size_t>(user.user)]);
}

std::span<const int32_t> KnownActions::of(const UserMoment& user) const {
  if (user.user < 0) return {};
  return data_.user_actions(user.user).first(static_cast<size_t>(count(user)));
}

std::span<const int32_t> KnownActions::in_train(int64_t user) const {
  return data_.user_actions(user).first(static_cast<size_t>(train_[static_cast<size_t>(user)]));
}

std::vector<int32_t> KnownActions::distinct(std::span<const int32_t> actions) {
  std::vector<int32_t> items(actions.begin(), actions.end());
  std::sort(items.begin(), items.end());
  items.erase(std::unique(items.begin(), items.end()), items.end());
  return items;
}

}  // namespace tt
