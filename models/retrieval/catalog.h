#pragma once
// The items that can be recommended: vectors, ids, categories, which of them training has met, and which are on offer.
// A Catalog is a value that never changes and costs a pointer to copy: one state of the items. with(), without() and
// with_available() make the next state and share with the old one whatever is the same, so that a search that works
// through one of them is not disturbed. LiveCatalog (live_catalog.h) holds the present state for threads that search
// while others change it.
//
// Items are numbered by rows. Rows 0 .. base_size() - 1 are the bundle's items; an item that comes later, or replaces
// one, gets a row of its own behind all others, and a row never means another item. A row that was replaced or removed
// is gone: id() may still resolve it for a while, searches never return it.

#include <twotower/models/bundle/bundle.h>
#include <twotower/models/retrieval/catalog_part.h>
#include <twotower/models/retrieval/encode_items.h>
#include <twotower/models/retrieval/index/exact.h>

#include <string>
#include <string_view>
#include <vector>

namespace tt {

class Filter;

// Items to come. Features are the encoder's business: live_catalog.h.
struct ItemBatch {
  std::vector<std::string_view> ids;
  std::span<const float> vectors;  // [ids, D]
  // Of each of the catalog's columns of categories, the codes of each item; empty: none has any.
  std::vector<std::vector<std::vector<int32_t>>> codes;
  // By column: 1 where what an item had before it was replaced stays; empty: nowhere. Codes of such a column, where an
  // item has some, go before.
  std::vector<uint8_t> keep;
};
enum class Arrival { add, replace };

// What a search needs beside its answer: a thread has its own, and does not allocate once it has seen such a search.
struct CatalogScratch {
  SkipRows skip;
  RowBits allowed;
  TopItems part, merged;
};

class Catalog {
 public:
  Catalog() = default;
  // A view of the bundle, which must outlive it. index: over the bundle's vectors; null: the one it holds
  // (stored_index.h).
  explicit Catalog(const Bundle& bundle, std::shared_ptr<const Index> index = nullptr);
  Catalog(Bundle&&, std::shared_ptr<const Index> = nullptr) = delete;
  // vectors: [C, DI], a view; learnt, available: [C], the latter empty where all are. Without ids and categories: for a
  // model in memory.
  Catalog(Tensor<const float> vectors, std::span<const uint8_t> learnt, std::span<const uint8_t> available = {},
          std::shared_ptr<const Index> index = nullptr);

  // The next state, which has these items too, or in the place of those of the same ids (on offer if these were). All
  // or nothing: Error for an id that is there already (add) or is not there (replace), for one that is empty or given
  // twice, and for vectors that do not fit or are not finite.
  Catalog with(const ItemBatch& items, Arrival how) const;
  // Without these items, or with them on offer or not. Error for an id that is not there.
  Catalog without(std::span<const std::string_view> ids) const;
  Catalog with_available(std::span<const std::string_view> ids, bool available) const;
  uint64_t version() const { return state_ ? state_->version : 0; }  // how many changes made it

  int64_t size() const;                                       // items that are there
  int64_t on_offer() const;                                   // those of them that a search may return
  int64_t rows() const { return state_ ? state_->rows : 0; }  // every row is below it
  int64_t base_size() const { return state_ ? base().size() : 0; }
  int64_t width() const { return state_ ? base().vectors().cols() : 0; }  // DI
  Tensor<const float> base_vectors() const { return base().vectors(); }   // [base_size(), DI], gone or not
  const std::string& weights() const;  // fingerprint of what the bundle's vectors were made with, or ""

  // Whether the row's item is there, and whether a search may return it.
  bool contains(int64_t row) const;
  bool available(int64_t row) const;
  std::optional<int64_t> find(std::string_view id) const;  // an item that is there
  // Of a row that is there, or was until lately. Error for others.
  std::string_view id(int64_t row) const;
  std::string_view title(int64_t row) const;  // for people; "" where there is none
  const float* vector(int64_t row) const;     // [DI]
  // The row of the id table that training learnt for the item, by which histories read it, or -1. Of the bundle's rows
  // also where the item is gone.
  int64_t learnt_row(int64_t row) const;
  // The same for an id: also of an item that is gone.
  int64_t learnt_row(std::string_view id) const;

  // The k items of highest inner product on offer, best first, ties by smaller row. filter: only those that it lets
  // pass; leave_out: rows not to return, by query, ascending and without repeats, a row of the bundle's meaning the
  // item also where it was replaced. k is cut to the number of items that could be returned. Errors as
  // Index::search and, for a filter of another bundle's catalog, as Filter's.
  void search(Tensor<const float> queries, int64_t k, TopItems& out, CatalogScratch& scratch,
              const Filter* filter = nullptr, const SkipRows* leave_out = nullptr) const;
  // How many items a search can return: exactly, in a pass over the bits, or a bound without one.
  int64_t count(const Filter* filter) const;
  int64_t most(const Filter* filter) const;

  const CatalogPart& base() const { return *state_->base.part; }
  // The same for all states of a catalog; null where there is none.
  std::shared_ptr<const CatalogPart> shared_base() const { return state_ ? state_->base.part : nullptr; }
  std::span<const LivePart> segments() const {  // what came later, by rows
    return state_ ? std::span<const LivePart>(state_->segments) : std::span<const LivePart>();
  }

 private:
  // What the bundle says of its items, beside the base.
  struct Facts {
    std::span<const uint8_t> learnt;
    const Category* title = nullptr;
    std::string weights;
  };
  struct State {
    std::shared_ptr<const Facts> facts;
    LivePart base;
    std::vector<LivePart> segments;
    int64_t rows = 0;
    uint64_t version = 0;
  };
  struct Place {
    const LivePart* part = nullptr;
    int64_t place = -1;
  };

  Catalog(std::shared_ptr<const CatalogPart> base, Facts facts, std::span<const uint8_t> available,
          std::span<const uint8_t> removed = {});
  Place at(int64_t row) const;
  Place must_be_at(int64_t row) const;
  Place find_place(std::string_view id) const;
  template <class Change>
  Catalog changed(std::span<const std::string_view> ids, const char* what, Change change) const;
  void skip_in(const LivePart& part, const SkipRows& leave_out, SkipRows& skip) const;

  std::shared_ptr<const State> state_;
};

}  // namespace tt
