#include <twotower/train/evaluate/user_groups.h>

#include <cmath>
#include <limits>

namespace tt {
namespace {

// The most impressions of each group, and its name.
struct Bin {
  int64_t most;
  const char* name;
};
constexpr Bin kBins[] = {{0, "0"},
                         {1, "1"},
                         {3, "2-3"},
                         {10, "4-10"},
                         {30, "11-30"},
                         {100, "31-100"},
                         {std::numeric_limits<int64_t>::max(), ">100"}};

}  // namespace

std::vector<UserGroup> by_impressions(const Dataset& data, const EvaluationResult& result) {
  std::vector<int64_t> impressions(static_cast<size_t>(data.num_users()), 0);
  const Impressions& train = data.split(Split::train);
  for (int64_t i = 0; i < train.size; ++i) ++impressions[static_cast<size_t>(train.user[i])];

  std::vector<UserGroup> groups;
  const std::vector<std::string>& names = result.per_user_names;
  int64_t above = -1;
  for (const Bin& bin : kBins) {
    UserGroup group{bin.name, 0, {}};
    std::vector<double> sum(names.size(), 0), count(names.size(), 0);
    for (size_t row = 0; row < result.user_rows.size(); ++row) {
      const int64_t n = impressions[static_cast<size_t>(result.user_rows[row])];
      if (n <= above || n > bin.most) continue;
      ++group.users;
      for (size_t c = 0; c < names.size(); ++c)
        if (const float value = result.per_user[row * names.size() + c]; !std::isnan(value))
          sum[c] += static_cast<double>(value), count[c] += 1;
    }
    for (size_t c = 0; c < names.size(); ++c)
      if (count[c] > 0) group.measures.set(names[c], sum[c] / count[c]);
    if (group.users > 0) groups.push_back(std::move(group));
    above = bin.most;
  }
  return groups;
}

}  // namespace tt
