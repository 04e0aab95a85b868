// How one state of a catalog becomes the next.

#include <twotower/models/retrieval/catalog.h>
#include <twotower/tensor/error.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <unordered_set>

namespace tt {
namespace {

// Places by part.
using Places = std::map<LivePart*, std::vector<int64_t>>;

void take_away(const Places& places) {
  for (const auto& [part, gone] : places) {
    RowBits there = part->there_bits(), offered = part->offered_bits();
    for (const int64_t place : gone) set_row(there, place, false), set_row(offered, place, false);
    part->set_there(std::move(there)), part->set_offered(std::move(offered));
  }
}

}  // namespace

template <class Change>
Catalog Catalog::changed(std::span<const std::string_view> ids, const char* what, Change change) const {
  if (ids.empty()) return *this;
  check<NotFound>(state_ != nullptr, "catalog", "there is no item \"", ids[0], "\" ", what);
  State next = *state_;
  Places places;
  for (const std::string_view id : ids) {
    const Place found = find_place(id);
    if (!found.part) fail<NotFound>("catalog", "there is no item \"", id, "\" ", what);
    LivePart* part = found.part == &state_->base
                         ? &next.base
                         : &next.segments[static_cast<size_t>(found.part - state_->segments.data())];
    places[part].push_back(found.place);
  }
  change(places);
  compact_segments(base(), next.segments);
  ++next.version;
  Catalog out;
  out.state_ = std::make_shared<const State>(std::move(next));
  return out;
}

Catalog Catalog::without(std::span<const std::string_view> ids) const {
  return changed(ids, "to remove; it may be gone already", take_away);
}

Catalog Catalog::with_available(std::span<const std::string_view> ids, bool available) const {
  return changed(ids, "to switch on or off; add it first", [&](const Places& places) {
    for (const auto& [part, switched] : places) {
      RowBits offered = part->offered_bits();
      for (const int64_t place : switched) set_row(offered, place, available);
      part->set_offered(std::move(offered));
    }
  });
}

Catalog Catalog::with(const ItemBatch& batch, Arrival how) const {
  const auto n = static_cast<int64_t>(batch.ids.size());
  if (n == 0) return *this;
  check(state_ != nullptr, "catalog", "there is no catalog to add items to; open a bundle");
  const size_t columns = base().categories().size();
  check(static_cast<int64_t>(batch.vectors.size()) == n * width(), "catalog", "the vectors of ", n, " items hold ",
        batch.vectors.size(), " numbers, the catalog's are of width ", width());
  check(batch.codes.empty() || batch.codes.size() == columns, "catalog", "there are categories of ", batch.codes.size(),
        " columns, the catalog has ", columns);
  check(rows() + n <= std::numeric_limits<int32_t>::max(), "catalog", "after ", rows(),
        " items that came and went 32 bits can number no more; save the bundle, and open what was saved");

  State next = *state_;
  Places replaced;
  CatalogPart::Items items;
  items.ids = batch.ids;
  items.vectors.assign(batch.vectors.begin(), batch.vectors.end());
  items.codes.resize(columns);
  RowBits offered = all_rows(n);
  std::unordered_set<std::string_view> given;
  for (int64_t i = 0; i < n; ++i) {
    const std::string_view id = batch.ids[static_cast<size_t>(i)];
    check(!id.empty(), "catalog", "an item's id is empty; every item needs one");
    if (!given.insert(id).second) fail("catalog", "item \"", id, "\" is given twice; give each once");
    const Place old = find_place(id);
    if (how == Arrival::add && old.part)
      fail<AlreadyThere>("catalog", "item \"", id, "\" is there already; replace it, or leave it out");
    if (how == Arrival::replace && !old.part)
      fail<NotFound>("catalog", "there is no item \"", id, "\" to replace; add it");
    const float* vector = items.vectors.data() + i * width();
    if (!std::all_of(vector, vector + width(), [](float x) { return std::isfinite(x); }))
      fail("catalog", "the vector of item \"", id, "\" is not finite; look at the item's features");
    items.rows.push_back(next.rows++);
    items.base_rows.push_back(base().ids().find(id).value_or(-1));
    for (size_t c = 0; c < columns; ++c) {
      std::span<const int32_t> codes;
      if (!batch.codes.empty()) codes = batch.codes[c][static_cast<size_t>(i)];
      if (codes.empty() && old.part && !batch.keep.empty() && batch.keep[c] != 0)
        codes = old.part->part->categories()[c].of(old.place);
      items.codes[c].add(codes);
    }
    if (!old.part) continue;
    set_row(offered, i, old.part->is_offered(old.place));
    LivePart* part = old.part == &state_->base
                         ? &next.base
                         : &next.segments[static_cast<size_t>(old.part - state_->segments.data())];
    replaced[part].push_back(old.place);
  }
  take_away(replaced);
  next.segments.emplace_back(std::make_shared<const CatalogPart>(std::move(items), base()))
      .set_offered(std::move(offered));
  compact_segments(base(), next.segments);
  ++next.version;
  Catalog out;
  out.state_ = std::make_shared<const State>(std::move(next));
  return out;
}

}  // namespace tt
