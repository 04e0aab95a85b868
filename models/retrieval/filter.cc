#include <twotower/models/retrieval/filter.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>

#include <algorithm>
#include <functional>
#include <mutex>

namespace tt {
namespace {

constexpr size_t kKept = 32;  // segments, more than a catalog ever has

struct Wanted {
  size_t column;
  std::vector<int32_t> any_of;
};

size_t column_of(const CatalogPart& base, const std::string& name) {
  const auto categories = base.categories();
  for (size_t c = 0; c < categories.size(); ++c)
    if (categories[c].name == name) return c;
  std::vector<std::string> names;
  for (const Category& c : categories) names.push_back(c.name);
  const std::string nearest = nearest_name(name, names);
  fail<NotFound>("filter", "items have no column \"", name, "\" of categories",
                 names.empty()     ? "; import item features that are categories"
                 : nearest.empty() ? "; `twotower inspect` lists them"
                                   : "; did you mean \"" + nearest + "\"?");
}

int32_t code_of(const Category& category, const std::string& value) {
  if (const auto code = category.values.find(value)) return static_cast<int32_t>(*code);
  std::vector<std::string_view> values;
  for (int64_t v = 0; v < std::min<int64_t>(category.values.size(), 10000); ++v)
    values.push_back(category.values.text(v));
  const std::string near = nearest_name(value, values);
  fail<NotFound>(
      "filter", "no item has ", category.name, " = \"", value, "\"",
      near.empty() ? "; give a value as it stands in the imported data" : "; did you mean \"" + near + "\"?");
}

}  // namespace

struct Filter::Shared {
  std::shared_ptr<const CatalogPart> base;
  Conditions conditions;  // with sorted lists of ids
  std::vector<Wanted> wanted;
  Passing of_base;
  std::mutex mutex;                                       // guards what follows
  std::vector<std::pair<uint64_t, Passing>> of_segments;  // by serial number, the oldest first

  Passing look_at(const CatalogPart& part) const;
};

// Lists of ids are met from their shorter side: a segment of a few items costs no more than these, however long a list
// is.
Filter::Passing Filter::Shared::look_at(const CatalogPart& part) const {
  RowBits bits = conditions.only ? no_rows(part.size()) : all_rows(part.size());
  const auto mark = [&](const std::vector<std::string>& sorted_ids, bool in) {
    if (part.size() < static_cast<int64_t>(sorted_ids.size())) {
      for (int64_t p = 0; p < part.size(); ++p)
        if (std::binary_search(sorted_ids.begin(), sorted_ids.end(), part.ids().text(p), std::less<>()))
          set_row(bits, p, in);
    } else {
      for (const std::string& id : sorted_ids)
        if (const auto place = part.ids().find(id)) set_row(bits, *place, in);
    }
  };
  if (conditions.only) mark(*conditions.only, true);
  mark(conditions.without, false);
  for (const Wanted& w : wanted) {
    const Category& category = part.categories()[w.column];
    for (size_t at = 0; at < bits.size(); ++at)
      for (uint64_t left = bits[at]; left != 0; left &= left - 1) {
        const int64_t p = static_cast<int64_t>(at * 64) + std::countr_zero(left);
        if (std::none_of(w.any_of.begin(), w.any_of.end(), [&](int32_t c) { return category.has(p, c); }))
          set_row(bits, p, false);
      }
  }
  const int64_t count = count_rows(bits);
  return {std::make_shared<const RowBits>(std::move(bits)), count};
}

Filter::Filter(const Catalog& catalog, Conditions conditions) : shared_(std::make_shared<Shared>()) {
  shared_->base = catalog.shared_base();
  for (const Conditions::Value& value : conditions.where) {
    Wanted wanted{column_of(*shared_->base, value.column), {}};
    for (const std::string& text : value.any_of)
      wanted.any_of.push_back(code_of(shared_->base->categories()[wanted.column], text));
    shared_->wanted.push_back(std::move(wanted));
  }
  if (conditions.only) std::sort(conditions.only->begin(), conditions.only->end());
  std::sort(conditions.without.begin(), conditions.without.end());
  shared_->conditions = std::move(conditions);
  shared_->of_base = shared_->look_at(*shared_->base);
}

Filter::Passing Filter::of(const CatalogPart& part) const {
  if (part.serial() == shared_->base->serial()) return shared_->of_base;
  const std::lock_guard lock(shared_->mutex);
  auto& kept = shared_->of_segments;
  for (const auto& [serial, passing] : kept)
    if (serial == part.serial()) return passing;
  Passing passing = shared_->look_at(part);
  if (kept.size() >= kKept) kept.erase(kept.begin(), kept.begin() + kKept / 2);
  kept.emplace_back(part.serial(), passing);
  return passing;
}

void Filter::check_fits(const Catalog& catalog) const {
  check(catalog.shared_base() == shared_->base, "filter",
        "the filter was made for another catalog; make one for the catalog that is searched");
}

}  // namespace tt
