#include <twotower/models/retrieval/catalog.h>
#include <twotower/models/retrieval/filter.h>
#include <twotower/models/retrieval/index/stored_index.h>
#include <twotower/tensor/error.h>

#include <algorithm>

namespace tt {
namespace {

RowBits bits_of(std::span<const uint8_t> flags) {
  RowBits bits = no_rows(static_cast<int64_t>(flags.size()));
  for (size_t i = 0; i < flags.size(); ++i) set_row(bits, static_cast<int64_t>(i), flags[i] != 0);
  return bits;
}

}  // namespace

Catalog::Catalog(std::shared_ptr<const CatalogPart> base, Facts facts, std::span<const uint8_t> available,
                 std::span<const uint8_t> removed) {
  check(base->size() == static_cast<int64_t>(facts.learnt.size()), "catalog", "there are ", base->size(),
        " vectors, but it is said of ", facts.learnt.size(), " items whether training has met them");
  check(available.empty() || available.size() == facts.learnt.size(), "catalog", "there are ", base->size(),
        " vectors, but it is said of ", available.size(), " items whether they are available");
  LivePart part(std::move(base));
  const int64_t rows = part.part->size();
  if (!available.empty()) part.set_offered(bits_of(available));
  if (!removed.empty()) {
    RowBits there = all_rows(rows), offered = part.offered_bits();
    for (int64_t r = 0; r < rows; ++r)
      if (removed[static_cast<size_t>(r)] != 0) set_row(there, r, false), set_row(offered, r, false);
    part.set_there(std::move(there)), part.set_offered(std::move(offered));
  }
  state_ = std::make_shared<const State>(
      State{std::make_shared<const Facts>(std::move(facts)), std::move(part), {}, rows, 0});
}

Catalog::Catalog(const Bundle& bundle, std::shared_ptr<const Index> index)
    : Catalog(std::make_shared<const CatalogPart>(bundle.item_vectors(), bundle.item_ids(), bundle.categories(),
                                                  index ? std::move(index) : stored_index(bundle)),
              {bundle.learnt_items(), bundle.title(), bundle.weights_fingerprint()}, bundle.available_items(),
              bundle.removed_items()) {}

Catalog::Catalog(Tensor<const float> vectors, std::span<const uint8_t> learnt, std::span<const uint8_t> available,
                 std::shared_ptr<const Index> index)
    : Catalog(std::make_shared<const CatalogPart>(vectors, IdTable(), std::span<const Category>(), std::move(index)),
              {learnt, nullptr, ""}, available) {}

int64_t Catalog::size() const {
  if (!state_) return 0;
  int64_t count = state_->base.there_count;
  for (const LivePart& segment : state_->segments) count += segment.there_count;
  return count;
}

int64_t Catalog::on_offer() const {
  if (!state_) return 0;
  int64_t count = state_->base.offered_count;
  for (const LivePart& segment : state_->segments) count += segment.offered_count;
  return count;
}

const std::string& Catalog::weights() const {
  static const std::string none;
  return state_ ? state_->facts->weights : none;
}

Catalog::Place Catalog::at(int64_t row) const {
  if (row < 0 || row >= rows()) return {};
  if (row < base_size()) return {&state_->base, row};
  for (const LivePart& segment : state_->segments)
    if (const int64_t place = segment.part->place(row); place >= 0) return {&segment, place};
  return {};
}

Catalog::Place Catalog::must_be_at(int64_t row) const {
  const Place found = at(row);
  if (!found.part) {
    check(row >= 0 && row < rows(), "catalog", "there is no item row ", row, ", there are ", rows());
    fail("catalog", "the item of row ", row, " was removed or replaced; look rows up in the catalog that found them");
  }
  return found;
}

Catalog::Place Catalog::find_place(std::string_view id) const {
  if (!state_) return {};
  for (size_t s = state_->segments.size(); s-- > 0;) {
    const LivePart& segment = state_->segments[s];
    if (const auto place = segment.part->ids().find(id); place && segment.is_there(*place)) return {&segment, *place};
  }
  if (const auto row = base().ids().find(id); row && state_->base.is_there(*row)) return {&state_->base, *row};
  return {};
}

bool Catalog::contains(int64_t row) const {
  const Place found = at(row);
  return found.part && found.part->is_there(found.place);
}

bool Catalog::available(int64_t row) const {
  const Place found = at(row);
  return found.part && found.part->is_offered(found.place);
}

std::optional<int64_t> Catalog::find(std::string_view id) const {
  const Place found = find_place(id);
  if (!found.part) return std::nullopt;
  return found.part->part->row(found.place);
}

std::string_view Catalog::id(int64_t row) const {
  const Place found = must_be_at(row);
  return found.part->part->ids().text(found.place);
}

std::string_view Catalog::title(int64_t row) const {
  const Category* title = state_ ? state_->facts->title : nullptr;
  if (!title) return {};
  const Place found = must_be_at(row);
  const auto column = static_cast<size_t>(title - base().categories().data());
  const auto codes = found.part->part->categories()[column].of(found.place);
  return codes.empty() ? std::string_view() : title->values.text(codes[0]);
}

const float* Catalog::vector(int64_t row) const {
  const Place found = must_be_at(row);
  return found.part->part->vectors().row(found.place);
}

int64_t Catalog::learnt_row(int64_t row) const {
  const Place found = at(row);
  const int64_t of_base = found.part ? found.part->part->base_row(found.place) : -1;
  return of_base >= 0 && state_->facts->learnt[static_cast<size_t>(of_base)] != 0 ? of_base : -1;
}

int64_t Catalog::learnt_row(std::string_view id) const {
  const auto row = state_ ? base().ids().find(id) : std::nullopt;
  return row ? learnt_row(*row) : -1;
}

int64_t Catalog::most(const Filter* filter) const {
  if (!filter || !state_) return on_offer();
  int64_t sum = std::min(state_->base.offered_count, filter->of(base()).count);
  for (const LivePart& segment : state_->segments)
    sum += std::min(segment.offered_count, filter->of(*segment.part).count);
  return sum;
}

int64_t Catalog::count(const Filter* filter) const {
  if (!filter || !state_) return on_offer();
  int64_t sum = 0;
  const auto add = [&](const LivePart& part) {
    const Filter::Passing passing = filter->of(*part.part);
    if (!part.offered) {
      sum += passing.count;
      return;
    }
    for (size_t w = 0; w < passing.bits->size(); ++w) sum += std::popcount((*passing.bits)[w] & (*part.offered)[w]);
  };
  add(state_->base);
  for (const LivePart& segment : state_->segments) add(segment);
  return sum;
}

}  // namespace tt
