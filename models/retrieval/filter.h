#pragma once
// Which items a search may return, by what is known of them: the values of columns of categories, and lists of ids. A
// Filter is made once and used often, by any number of threads, with every state of the catalog it was made for: items
// that come later pass if they satisfy it, under the same id also after they were replaced.
//
//   const Filter drama(recommender.catalog(), {.where = {{"genre", {"Drama"}}}, .without = {"m1"}});
//   recommender.recommend(session, "user 196", {.k = 10, .among = &drama}, top);

#include <twotower/models/retrieval/catalog.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tt {

// An item passes if all of these hold.
struct Conditions {
  struct Value {
    std::string column;
    std::vector<std::string> any_of;  // the item has one of these values in the column
  };
  std::vector<Value> where = {};
  std::optional<std::vector<std::string>> only = {};  // ids; those that no item has matter once one has
  std::vector<std::string> without = {};              // ids
};

class Filter {
 public:
  // Error with the nearest name or value for a column or a value that the bundle does not have.
  Filter(const Catalog& catalog, Conditions conditions);

  // The items of a part that pass, by place. Kept, so that a part is looked at once.
  struct Passing {
    std::shared_ptr<const RowBits> bits;
    int64_t count = 0;
  };
  Passing of(const CatalogPart& part) const;
  // Throws Error unless it was made for this catalog, in whatever state.
  void check_fits(const Catalog& catalog) const;

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace tt
