#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/baselines/ease.h>
#include <twotower/train/baselines/matrices/symmetric_inverse.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

namespace tt {
namespace {

int64_t bytes_for(int64_t items) { return items * (items + 256) * static_cast<int64_t>(sizeof(float)); }

std::string mebibytes(int64_t bytes) { return std::to_string((bytes >> 20) + 1) + " MiB"; }

}  // namespace

int64_t Ease::available_bytes() {
  std::ifstream lines("/proc/meminfo");
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("MemAvailable:")) {
      int64_t kib = 0;
      std::istringstream(line.substr(13)) >> kib;
      return kib << 10;
    }
  return std::numeric_limits<int64_t>::max();  // it will be found out
}

std::string Ease::refusal(int64_t items, int64_t available) {
  std::ostringstream text;
  if (items > kMostItems)
    text << "the baseline \"ease\" inverts a matrix of items x items, and " << items << " are more than the "
         << kMostItems << " that it is for; leave it out";
  else if (bytes_for(items) > available)
    text << "the baseline \"ease\" of " << items << " items takes " << mebibytes(bytes_for(items)) << " of memory, and "
         << mebibytes(available) << " are free; leave it out";
  return text.str();
}

std::string Ease::note(int64_t items) {
  return "ease: a matrix of " + std::to_string(items) + " x " + std::to_string(items) + " items, " +
         mebibytes(bytes_for(items));
}

void Ease::fit(const Dataset& data) {
  known_.emplace(data);
  items_ = data.num_items();
  const int64_t users = data.num_users();
  UserItems by_user = data.positives(Split::train);
  std::vector<std::vector<int32_t>> by_item(static_cast<size_t>(items_));
  for (int64_t u = 0; u < users; ++u)
    for (const int32_t item : by_user.of(u)) by_item[static_cast<size_t>(item)].push_back(static_cast<int32_t>(u));
  inverse_.assign(static_cast<size_t>(items_ * items_), 0);
  parallel_for(0, items_, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = inverse_.data() + i * items_;
      for (const int32_t u : by_item[static_cast<size_t>(i)])
        for (const int32_t j : by_user.of(u)) row[j] += 1;
      row[i] += static_cast<float>(options_.ease.l2);
    }
  });
  invert_symmetric(inverse_.data(), items_);
}

void Ease::score(std::span<const UserMoment> users, float* out) const {
  parallel_for(0, static_cast<int64_t>(users.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      float* row = out + q * items_;
      std::fill_n(row, items_, 0.0f);
      const std::vector<int32_t> known = KnownActions::distinct(known_->of(users[static_cast<size_t>(q)]));
      for (const int32_t i : known) {
        const float* p = inverse_.data() + i * items_;
        for (int64_t j = 0; j < items_; ++j) row[j] += p[j];
      }
      for (const int32_t j : known) row[j] -= inverse_[static_cast<size_t>(j * items_ + j)];  // B_jj = 0
      for (int64_t j = 0; j < items_; ++j) row[j] /= -inverse_[static_cast<size_t>(j * items_ + j)];
    }
  });
}

}  // namespace tt
