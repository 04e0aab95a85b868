#include <twotower/models/retrieval/catalog_part.h>
#include <twotower/models/retrieval/index/exact.h>
#include <twotower/tensor/error.h>

#include <algorithm>
#include <atomic>

namespace tt {
namespace {

constexpr int64_t kRatio = 4;  // a segment has more than so many times the items of the next

uint64_t next_serial() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

}  // namespace

CatalogPart::CatalogPart(Tensor<const float> vectors, IdTable ids, std::span<const Category> categories,
                         std::shared_ptr<const Index> index)
    : vectors_(vectors),
      ids_(std::move(ids)),
      categories_(categories),
      index_(index ? std::move(index) : std::make_shared<ExactIndex>(vectors)),
      serial_(next_serial()) {
  check(index_->size() == vectors.rows() && index_->width() == vectors.cols(), "catalog", "the index is of ",
        index_->size(), " items of width ", index_->width(), ", the catalog of ", vectors.rows(), " of width ",
        vectors.cols(), "; build the index from these vectors");
}

CatalogPart::CatalogPart(Items items, const CatalogPart& base)
    : serial_(next_serial()),
      rows_(std::move(items.rows)),
      base_rows_(std::move(items.base_rows)),
      own_vectors_(std::move(items.vectors)),
      own_ids_(items.ids),
      own_codes_(std::move(items.codes)) {
  const auto n = static_cast<int64_t>(rows_.size());
  vectors_ = {own_vectors_.data(), {n, base.vectors().cols()}};
  index_ = std::make_shared<ExactIndex>(vectors_);
  ids_ = own_ids_.table();
  ids_.order();  // sorted now, so that no search waits for it
  for (size_t c = 0; c < own_codes_.size(); ++c) {
    Category category = base.categories()[c];
    category.offsets = own_codes_[c].offsets.data(), category.codes = own_codes_[c].codes.data();
    category.rows = n, category.count = static_cast<int64_t>(own_codes_[c].codes.size());
    own_categories_.push_back(std::move(category));
  }
  categories_ = own_categories_;
  for (size_t p = 0; p < base_rows_.size(); ++p)
    if (base_rows_[p] >= 0) by_base_row_.emplace_back(base_rows_[p], static_cast<int64_t>(p));
  std::sort(by_base_row_.begin(), by_base_row_.end());
}

int64_t CatalogPart::place(int64_t row) const {
  if (is_base()) return row >= 0 && row < size() ? row : -1;
  const auto at = std::lower_bound(rows_.begin(), rows_.end(), row);
  return at != rows_.end() && *at == row ? at - rows_.begin() : -1;
}

int64_t CatalogPart::place_of_base_row(int64_t base_row) const {
  const auto at = std::lower_bound(by_base_row_.begin(), by_base_row_.end(), std::pair<int64_t, int64_t>(base_row, 0));
  return at != by_base_row_.end() && at->first == base_row ? at->second : -1;
}

void LivePart::set_there(RowBits bits) {
  there_count = count_rows(bits);
  there = std::make_shared<const RowBits>(std::move(bits));
}

void LivePart::set_offered(RowBits bits) {
  offered_count = count_rows(bits);
  offered = offered_count == part->size() ? nullptr : std::make_shared<const RowBits>(std::move(bits));
}

LivePart merge_segments(const CatalogPart& base, const LivePart& a, const LivePart* b) {
  CatalogPart::Items items;
  items.codes.resize(base.categories().size());
  std::vector<bool> offered;
  for (const LivePart* from : {&a, b}) {
    if (!from) continue;
    const CatalogPart& part = *from->part;
    for (int64_t p = 0; p < part.size(); ++p) {
      if (!from->is_there(p)) continue;
      items.rows.push_back(part.row(p)), items.base_rows.push_back(part.base_row(p));
      items.ids.push_back(part.ids().text(p));
      items.vectors.insert(items.vectors.end(), part.vectors().row(p), part.vectors().row(p) + base.vectors().cols());
      for (size_t c = 0; c < items.codes.size(); ++c) items.codes[c].add(part.categories()[c].of(p));
      offered.push_back(from->is_offered(p));
    }
  }
  LivePart out(std::make_shared<const CatalogPart>(std::move(items), base));
  RowBits bits = no_rows(out.part->size());
  for (size_t p = 0; p < offered.size(); ++p) set_row(bits, static_cast<int64_t>(p), offered[p]);
  out.set_offered(std::move(bits));
  return out;
}

void compact_segments(const CatalogPart& base, std::vector<LivePart>& segments) {
  std::erase_if(segments, [](const LivePart& s) { return s.there_count == 0; });
  for (LivePart& segment : segments)
    if (2 * segment.there_count < segment.part->size()) segment = merge_segments(base, segment, nullptr);
  for (size_t i = segments.size(); i-- > 1;) {
    if (segments[i].there_count * kRatio < segments[i - 1].there_count) continue;
    segments[i - 1] = merge_segments(base, segments[i - 1], &segments[i]);
    segments.erase(segments.begin() + static_cast<std::ptrdiff_t>(i));
    i = segments.size();  // the merged one may be too large for the one before it, or for its followers
  }
}

}  // namespace tt
