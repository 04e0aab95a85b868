#pragma once
// The items that can be recommended: their vectors, ids and categories, which of them training has met, and items that
// came later. Const use is safe from any number of threads.

#include <twotower/models/bundle/bundle.h>
#include <twotower/models/retrieval/exact.h>

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tt {

// Items as the item tower reads them.
struct ItemRows {
  int64_t count = 0;
  const uint8_t* learnt = nullptr;  // [count] 1: the item's row of the id table is used; null: none is
  const float* features = nullptr;  // [count, II], or null where the model reads none
};

// Their vectors [count, DI], a tile at a time. An item that training has not met goes without its id: its row of the
// table is still what chance made it.
void encode_items(const TwoTower<float>& model, const ItemRows& items, float* out);

// Some of a catalog's items with their vectors side by side: made once, searched often, by any number of threads.
class Selection {
 public:
  Selection() = default;
  // A range of rows: nothing is copied. `owner`, if any, is kept as long as the selection.
  Selection(Tensor<const float> all, int64_t first, int64_t count,
            std::shared_ptr<const std::vector<float>> owner = nullptr);
  Selection(Tensor<const float> all, std::vector<int64_t> rows);  // ascending

  int64_t size() const { return index_.size(); }
  const ExactIndex& index() const { return index_; }
  int64_t row(int64_t place) const { return rows_.empty() ? first_ + place : rows_[static_cast<size_t>(place)]; }
  // The place of an item row, or -1 if it is not among these.
  int64_t place(int64_t row) const;

 private:
  int64_t first_ = 0;
  std::vector<int64_t> rows_;
  std::shared_ptr<const std::vector<float>> vectors_;  // of rows_, gathered
  ExactIndex index_;
};

class Catalog {
 public:
  Catalog() = default;
  explicit Catalog(const Bundle& bundle);  // a view of it: the bundle must outlive it
  Catalog(Bundle&&) = delete;
  // vectors: [C, DI], a view; learnt, available: [C], the latter empty where all are. Without ids and categories: for a
  // model in memory.
  Catalog(Tensor<const float> vectors, std::span<const uint8_t> learnt, std::span<const uint8_t> available = {});

  // Items from features alone, rows size(), size() + 1, ... features: [ids, II], encoded. Error for a model without
  // item features, to which they would all look the same, for another width, and for an id that is there already.
  void add(const TwoTower<float>& model, const std::vector<std::string>& ids, std::span<const float> features);

  int64_t size() const { return vectors_ ? vectors_.rows() : 0; }
  int64_t known() const { return static_cast<int64_t>(learnt_.size()); }  // rows from here on were added
  Tensor<const float> vectors() const { return vectors_; }                // [size(), DI]
  bool learnt(int64_t row) const { return row >= 0 && row < known() && learnt_[static_cast<size_t>(row)] != 0; }
  // Whether the item is on offer. One that is not can be read in a history, but is in no selection.
  bool available(int64_t row) const {
    return available_.empty() || row >= known() || available_[static_cast<size_t>(row)] != 0;
  }
  std::string_view id(int64_t row) const;
  std::optional<int64_t> find(std::string_view id) const;
  std::string_view title(int64_t row) const;  // for people; "" where there is none

  const Selection& all() const { return all_; }  // those on offer
  Selection added() const { return {vectors_, known(), size() - known(), own_vectors_}; }
  const std::string& weights() const {
    return weights_;
  }  // fingerprint of what its bundle's vectors were made with, or ""
  // The items that have this value in this column: "genre", "Drama". Error with the nearest name or value.
  Selection where(std::string_view column, std::string_view value) const;
  // The items that satisfy all conditions; of none: all.
  Selection where(const std::vector<std::pair<std::string, std::string>>& conditions) const;
  // The items on offer for which wanted(row) holds.
  template <class Wanted>
  Selection select(Wanted wanted) const {
    std::vector<int64_t> rows;
    for (int64_t row = 0; row < size(); ++row)
      if (available(row) && wanted(row)) rows.push_back(row);
    return {vectors_, std::move(rows)};
  }

 private:
  Selection on_offer() const;

  Tensor<const float> vectors_;
  std::span<const uint8_t> learnt_, available_;
  IdTable ids_;
  std::span<const Category> categories_;
  const Category* title_ = nullptr;
  std::shared_ptr<const std::vector<float>> own_vectors_;  // once items were added
  std::vector<std::string> added_ids_;
  std::unordered_map<std::string, int64_t> added_;  // their rows
  std::string weights_;
  Selection all_;
};

}  // namespace tt
