#include <twotower/models/bundle/id_table.h>
#include <twotower/tensor/error.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <numeric>

namespace tt {

struct IdTable::Sorted {
  std::once_flag done;
  std::vector<int32_t> order;
};

IdTable::IdTable(const int64_t* offsets, const uint8_t* bytes, int64_t rows, int64_t size, const int32_t* order)
    : offsets_(offsets), bytes_(bytes), rows_(rows), byte_count_(size), order_(order) {
  check(rows <= std::numeric_limits<int32_t>::max(), "ids", rows, " rows are more than 32 bits can number");
  if (!order) sorted_ = std::make_shared<Sorted>();
}

std::string_view IdTable::text(int64_t row) const {
  check(row >= 0 && row < rows_, "ids", "row ", row, " is out of range, there are ", rows_);
  const int64_t from = offsets_[row], to = offsets_[row + 1];
  check<Damaged>(0 <= from && from <= to && to <= byte_count_, "ids", "the offsets of row ", row, " are ", from,
                 " and ", to, ", there are ", byte_count_, " bytes; the file is damaged, make it again");
  return {reinterpret_cast<const char*>(bytes_) + from, static_cast<size_t>(to - from)};
}

const int32_t* IdTable::order() const {
  if (order_ || !sorted_) return order_;
  std::call_once(sorted_->done, [&] {
    sorted_->order.resize(static_cast<size_t>(rows_));
    std::iota(sorted_->order.begin(), sorted_->order.end(), 0);
    std::sort(sorted_->order.begin(), sorted_->order.end(), [&](int32_t a, int32_t b) { return text(a) < text(b); });
  });
  return sorted_->order.data();
}

std::optional<int64_t> IdTable::find(std::string_view wanted) const {
  const int32_t *begin = order(), *end = begin + rows_;
  const auto text_at = [&](int32_t row) {
    check<Damaged>(row >= 0 && row < rows_, "ids", "the order holds row ", row, ", there are ", rows_,
                   "; the file is damaged, make it again");
    return text(row);
  };
  const int32_t* at =
      std::lower_bound(begin, end, wanted, [&](int32_t row, std::string_view t) { return text_at(row) < t; });
  if (at == end || text_at(*at) != wanted) return std::nullopt;
  return *at;
}

OwnedIds::OwnedIds(const std::vector<std::string_view>& texts) {
  for (const std::string_view text : texts) {
    bytes_.insert(bytes_.end(), text.begin(), text.end());
    offsets_.push_back(static_cast<int64_t>(bytes_.size()));
  }
}

IdTable OwnedIds::table() const {
  return {offsets_.data(), bytes_.data(), static_cast<int64_t>(offsets_.size()) - 1,
          static_cast<int64_t>(bytes_.size())};
}

}  // namespace tt
