#include <twotower/train/data/history.h>
#include <twotower/train/data/positives.h>

#include <algorithm>

namespace tt {

namespace {

// Rows of one split that were acted on, by user and then by time; equal times keep the order of the file.
std::vector<int64_t> action_rows(const InteractionColumns& rows, size_t tasks) {
  std::vector<int64_t> order;
  for (size_t i = 0; i < rows.user.size(); ++i)
    if (acted_on(rows.labels.data() + i * tasks, static_cast<int64_t>(tasks))) order.push_back(static_cast<int64_t>(i));
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    const auto x = static_cast<size_t>(a), y = static_cast<size_t>(b);
    return rows.user[x] != rows.user[y] ? rows.user[x] < rows.user[y] : rows.time[x] < rows.time[y];
  });
  return order;
}

}  // namespace

History build_history(const DatasetContent& content) {
  const size_t users = content.user_ids.size(), tasks = content.tasks.size();
  const std::vector<int64_t> train = action_rows(content.train, tasks), valid = action_rows(content.valid, tasks);
  History history;
  history.offsets.assign(users + 1, 0);
  std::vector<int64_t> train_size(users, 0);  // the first part of a user's list
  size_t next_train = 0, next_valid = 0;
  const auto append = [&](const InteractionColumns& rows, size_t row) {
    history.items.push_back(rows.item[row]);
    history.times.push_back(rows.time[row]);
    for (size_t t = 0; t < tasks; ++t) history.actions.push_back(rows.labels[row * tasks + t] > 0);
  };
  const auto belongs = [](const InteractionColumns& rows, const std::vector<int64_t>& order, size_t at, size_t user) {
    return at < order.size() && rows.user[static_cast<size_t>(order[at])] == static_cast<int32_t>(user);
  };
  for (size_t u = 0; u < users; ++u) {
    for (; belongs(content.train, train, next_train, u); ++next_train, ++train_size[u])
      append(content.train, static_cast<size_t>(train[next_train]));
    for (; belongs(content.valid, valid, next_valid, u); ++next_valid)
      append(content.valid, static_cast<size_t>(valid[next_valid]));
    history.offsets[u + 1] = static_cast<int64_t>(history.items.size());
  }

  const auto ends = [&](const InteractionColumns& rows, bool sees_valid) {
    std::vector<int32_t> out(rows.user.size());
    for (size_t i = 0; i < out.size(); ++i) {
      const auto u = static_cast<size_t>(rows.user[i]);
      const double* begin = history.times.data() + history.offsets[u];
      const double* middle = begin + train_size[u];
      const double* end = history.times.data() + history.offsets[u + 1];
      const double* seen = std::lower_bound(begin, middle, rows.time[i]);  // strictly earlier
      // A random split puts valid actions among the train ones; only once all train actions are past may they
      // follow.
      if (sees_valid && seen == middle) seen = std::lower_bound(middle, end, rows.time[i]);
      out[i] = static_cast<int32_t>(seen - begin);
    }
    return out;
  };
  history.train_end = ends(content.train, false);
  history.valid_end = ends(content.valid, false);
  history.test_end = ends(content.test, true);
  return history;
}

}  // namespace tt
