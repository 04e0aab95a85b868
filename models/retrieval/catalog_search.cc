// A search through all parts of a catalog.

#include <twotower/models/retrieval/catalog.h>
#include <twotower/models/retrieval/filter.h>
#include <twotower/tensor/error.h>

#include <algorithm>
#include <limits>

namespace tt {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// The bits of what a part may return: those of the one who has some, or of both at once. Empty: all.
std::span<const uint64_t> allowed_in(const LivePart& part, const RowBits* passing, RowBits& both) {
  const RowBits* offered = part.offered.get();
  if (!passing || !offered)
    return passing ? std::span(*passing) : offered ? std::span(*offered) : std::span<const uint64_t>();
  both.resize(passing->size());
  for (size_t w = 0; w < both.size(); ++w) both[w] = (*passing)[w] & (*offered)[w];
  return both;
}

// The k best of two answers. All rows of `b` come after those of `a`.
void merge_answers(const TopItems& a, const TopItems& b, int64_t k, TopItems& out) {
  out.resize(a.queries(), k);
  for (int64_t q = 0; q < a.queries(); ++q) {
    const auto items_a = a.items(q), items_b = b.items(q);
    const auto scores_a = a.scores(q), scores_b = b.scores(q);
    size_t i = 0, j = 0, to = static_cast<size_t>(q * k);
    const size_t found = std::min(static_cast<size_t>(k), items_a.size() + items_b.size()),
                 end = to + static_cast<size_t>(k);
    out.counts[static_cast<size_t>(q)] = static_cast<int64_t>(found);
    for (const size_t stop = to + found; to < stop; ++to) {
      const bool first = j == items_b.size() || (i < items_a.size() && scores_a[i] >= scores_b[j]);
      out.rows[to] = first ? items_a[i] : items_b[j];
      out.values[to] = first ? scores_a[i++] : scores_b[j++];
    }
    std::fill(out.rows.begin() + static_cast<std::ptrdiff_t>(to), out.rows.begin() + static_cast<std::ptrdiff_t>(end),
              -1);
    std::fill(out.values.begin() + static_cast<std::ptrdiff_t>(to),
              out.values.begin() + static_cast<std::ptrdiff_t>(end), -kInf);
  }
}

}  // namespace

// Places in a part of what is to be left out.
void Catalog::skip_in(const LivePart& part, const SkipRows& leave_out, SkipRows& skip) const {
  skip.clear();
  for (size_t q = 0; q + 1 < leave_out.offsets.size(); ++q) {
    const auto first = static_cast<std::ptrdiff_t>(skip.rows.size());
    for (int64_t at = leave_out.offsets[q]; at < leave_out.offsets[q + 1]; ++at) {
      const int64_t row = leave_out.rows[static_cast<size_t>(at)];
      int64_t place = part.part->place(row);
      if (!part.part->is_base() && row >= 0 && row < base_size() && !state_->base.is_there(row))
        place = part.part->place_of_base_row(row);
      if (place >= 0) skip.rows.push_back(place);
    }
    if (!part.part->is_base()) {
      std::sort(skip.rows.begin() + first, skip.rows.end());
      skip.rows.erase(std::unique(skip.rows.begin() + first, skip.rows.end()), skip.rows.end());
    }
    skip.offsets.push_back(static_cast<int64_t>(skip.rows.size()));
  }
}

void Catalog::search(Tensor<const float> queries, int64_t k, TopItems& out, CatalogScratch& scratch,
                     const Filter* filter, const SkipRows* leave_out) const {
  check(k >= 1, "retrieve", "k = ", k, "; ask for at least 1 item");
  check(state_ != nullptr, "retrieve", "the catalog holds no items; open a bundle");
  const int64_t q = queries ? queries.rows() : 0;
  check(q == 0 || queries.cols() == width(), "retrieve", "queries have ", q == 0 ? 0 : queries.cols(),
        " dimensions, items ", width(), "; use vectors of one model");
  check(!leave_out || static_cast<int64_t>(leave_out->offsets.size()) == q + 1, "retrieve", "there are ", q,
        " queries but ", leave_out ? static_cast<int64_t>(leave_out->offsets.size()) - 1 : 0,
        " lists of items to leave out; give one a query");
  if (filter) filter->check_fits(*this);
  k = std::min(k, std::max<int64_t>(most(filter), 1));
  if (q == 0) {
    out.resize(0, k);
    return;
  }

  // The base first, into `out`, and then each segment merged into it: rows grow from part to part.
  const auto search_part = [&](const LivePart& part, int64_t top, TopItems& found) {
    const Filter::Passing passing = filter ? filter->of(*part.part) : Filter::Passing();
    if (part.offered_count == 0 || (filter && passing.count == 0)) return false;
    if (leave_out) skip_in(part, *leave_out, scratch.skip);
    part.part->index().search(queries, top, found,
                              {.skip = leave_out ? &scratch.skip : nullptr,
                               .allowed = allowed_in(part, passing.bits.get(), scratch.allowed)});
    return true;
  };
  if (!search_part(state_->base, k, out)) {
    out.resize(q, k);
    std::fill(out.rows.begin(), out.rows.end(), -1);
    std::fill(out.values.begin(), out.values.end(), -kInf);
  }
  for (const LivePart& segment : state_->segments) {
    if (!search_part(segment, std::min(k, segment.part->size()), scratch.part)) continue;
    for (int64_t& place : scratch.part.rows)
      if (place >= 0) place = segment.part->row(place);
    merge_answers(out, scratch.part, k, scratch.merged);
    std::swap(out, scratch.merged);
  }
}

}  // namespace tt
