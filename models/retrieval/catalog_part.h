#pragma once
// What a catalog (catalog.h) is made of: parts that never change, and beside each the bits that say which of its items
// are still there and on offer.

#include <twotower/models/bundle/category.h>
#include <twotower/models/retrieval/index/index.h>
#include <twotower/models/retrieval/row_bits.h>

#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace tt {

// The codes that items have in a column of categories, item after item.
struct CategoryCodes {
  std::vector<int64_t> offsets{0};
  std::vector<int32_t> codes;
  void add(std::span<const int32_t> item) {
    codes.insert(codes.end(), item.begin(), item.end());
    offsets.push_back(static_cast<int64_t>(codes.size()));
  }
};

// Items side by side: those of the bundle (the base), or some that came later (a segment). Place p of a part holds the
// item of the catalog's row(p).
class CatalogPart {
 public:
  // The base: views, its places are rows.
  CatalogPart(Tensor<const float> vectors, IdTable ids, std::span<const Category> categories,
              std::shared_ptr<const Index> index);

  // What a segment is made of, item after item.
  struct Items {
    std::vector<int64_t> rows;       // ascending
    std::vector<int64_t> base_rows;  // the base's row of the same id, or -1
    std::vector<std::string_view> ids;
    std::vector<float> vectors;        // [n, D]
    std::vector<CategoryCodes> codes;  // of each of the base's categories
  };
  CatalogPart(Items items, const CatalogPart& base);
  CatalogPart(const CatalogPart&) = delete;
  CatalogPart& operator=(const CatalogPart&) = delete;

  int64_t size() const { return vectors_.rows(); }
  uint64_t serial() const { return serial_; }  // no other part of the process has it
  Tensor<const float> vectors() const { return vectors_; }
  const Index& index() const { return *index_; }
  const IdTable& ids() const { return ids_; }
  std::span<const Category> categories() const { return categories_; }

  bool is_base() const { return rows_.empty(); }
  int64_t row(int64_t place) const { return is_base() ? place : rows_[static_cast<size_t>(place)]; }
  int64_t place(int64_t row) const;  // -1: it is not here
  int64_t base_row(int64_t place) const { return is_base() ? place : base_rows_[static_cast<size_t>(place)]; }
  // The place of a segment's item that has the id of this row of the base, or -1.
  int64_t place_of_base_row(int64_t base_row) const;

 private:
  Tensor<const float> vectors_;
  IdTable ids_;
  std::span<const Category> categories_;
  std::shared_ptr<const Index> index_;
  uint64_t serial_;
  // Of a segment.
  std::vector<int64_t> rows_, base_rows_;
  std::vector<std::pair<int64_t, int64_t>> by_base_row_;  // (base row, place), ascending
  std::vector<float> own_vectors_;
  OwnedIds own_ids_;
  std::vector<CategoryCodes> own_codes_;
  std::vector<Category> own_categories_;
};

// A part as it stands in one state of a catalog. Copies share the bits; whoever changes them makes new ones.
struct LivePart {
  std::shared_ptr<const CatalogPart> part;
  // By place: which items have not been removed or replaced, and which of these may be returned. Null: all.
  std::shared_ptr<const RowBits> there, offered;
  int64_t there_count = 0, offered_count = 0;

  explicit LivePart(std::shared_ptr<const CatalogPart> all)
      : part(std::move(all)), there_count(part->size()), offered_count(part->size()) {}
  bool is_there(int64_t place) const { return !there || has_row(*there, place); }
  bool is_offered(int64_t place) const { return !offered || has_row(*offered, place); }
  void set_there(RowBits bits);
  void set_offered(RowBits bits);
  RowBits there_bits() const { return there ? *there : all_rows(part->size()); }
  RowBits offered_bits() const { return offered ? *offered : all_rows(part->size()); }
};

// One segment of what is left of two (or of one, with `b` null), in the order of rows. All of a's rows come before b's.
LivePart merge_segments(const CatalogPart& base, const LivePart& a, const LivePart* b);

// Keeps segments few: those that are mostly gone are written anew, and the last ones are merged as long as one is not
// much smaller than the one before it. Over many changes each item is copied a number of times that grows with the
// logarithm of their number.
void compact_segments(const CatalogPart& base, std::vector<LivePart>& segments);

}  // namespace tt
