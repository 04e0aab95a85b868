#include <twotower/train/data/dataset_content.h>

namespace tt {

InteractionColumns select_rows(const InteractionColumns& from, const std::vector<int64_t>& rows, int64_t tasks) {
  InteractionColumns out;
  const auto pick = [&](const auto& column, auto& to, int64_t width) {
    if (column.empty()) return;
    to.reserve(rows.size() * static_cast<size_t>(width));
    for (const int64_t row : rows) {
      const auto at = column.begin() + row * width;
      to.insert(to.end(), at, at + width);
    }
  };
  pick(from.user, out.user, 1);
  pick(from.item, out.item, 1);
  pick(from.position, out.position, 1);
  pick(from.time, out.time, 1);
  pick(from.labels, out.labels, tasks);
  pick(from.ranker_scores, out.ranker_scores, tasks);
  return out;
}

}  // namespace tt
