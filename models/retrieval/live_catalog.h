#pragma once
// Items that change while others search. Any number of threads take snapshots and search them, while others add,
// replace and remove: a search that begins after a change has returned sees it, one that began before sees all of its
// own state from beginning to end, and nobody waits for anybody's encoding or merging. The index of the bundle's items
// stays as it was built; what came later is searched exactly.
//
//   LiveCatalog items(bundle);
//   const Recommender recommender(bundle, items);
//   items.add(std::vector<NewItem>{{"m9", {{"year", "1996"}, {"genre", "Drama"}}}});
//
// Every change is all or nothing. Errors as Catalog's, and: a model without item features, to which all new items would
// look the same, cannot add or replace; a feature that the model does not have is refused with the nearest name,
// and so is one that is given twice.

#include <twotower/models/retrieval/catalog.h>

#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

namespace tt {

// An item in words. Columns of categories that the model does not read may be given, too: filters ask for them.
struct NewItem {
  std::string_view id;
  std::vector<NamedValue> features;  // what is not named is missing
};

// What was not understood and counts as missing.
struct Unknown {
  int64_t values = 0, items = 0;
};

class LiveCatalog {
 public:
  // The bundle must outlive it, and every snapshot. index: over the bundle's vectors; null: the one it
  // holds (stored_index.h).
  explicit LiveCatalog(const Bundle& bundle, std::shared_ptr<const Index> index = nullptr);
  explicit LiveCatalog(Bundle&&, std::shared_ptr<const Index> = nullptr) = delete;
  LiveCatalog(const LiveCatalog&) = delete;
  LiveCatalog& operator=(const LiveCatalog&) = delete;

  Catalog snapshot() const;  // the present state

  // New items from their features, encoded [ids, II] or in words. An item that training has met, such as one that was
  // removed and comes back, is made with its learnt id; others by their features alone. Values of categories come from
  // the features.
  void add(std::span<const std::string_view> ids, std::span<const float> features);
  Unknown add(std::span<const NewItem> items);
  // The same for items that are there: new features, the old id. Values in columns that features do not hold stay. An
  // item that is not on offer stays so.
  void replace(std::span<const std::string_view> ids, std::span<const float> features);
  Unknown replace(std::span<const NewItem> items);
  void remove(std::span<const std::string_view> ids);
  void set_available(std::span<const std::string_view> ids, bool available);

 private:
  void put(std::span<const std::string_view> ids, std::span<const float> features,
           std::vector<std::vector<std::vector<int32_t>>> codes, Arrival how);
  Unknown put(std::span<const NewItem> items, Arrival how);
  std::vector<std::vector<std::vector<int32_t>>> codes_of(std::span<const float> features, int64_t items) const;
  template <class Change>
  void change(Change make);

  const Bundle& bundle_;
  // By column of categories: the first feature that holds one of its values, and the codes of these; none for a column
  // that features do not hold.
  struct Column {
    int64_t first = 0;
    std::vector<int32_t> codes;
  };
  std::vector<Column> columns_;
  std::mutex changing_;  // one change at a time
  Catalog catalog_;      // guarded, for a moment, by a lock of all live catalogs that no fork() finds taken
};

}  // namespace tt
