#include <twotower/models/retrieval/index/quantised.h>
#include <twotower/tensor/error.h>

#include <cmath>

namespace tt {

using kernels::kBlockRows;

namespace {

std::size_t blocks_bytes(Tensor<const float> items, RowFormat format) {
  return static_cast<std::size_t>(kernels::blocks_of(items.rows())) * kernels::block_bytes(format, items.cols());
}
std::size_t scale_count(Tensor<const float> items) {
  return static_cast<std::size_t>(kernels::blocks_of(items.rows()) * kBlockRows);
}
std::size_t whole_lines(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

QuantisedIndex::QuantisedIndex(Tensor<const float> items, RowFormat format) : items_(items), format_(format) {
  if (size() == 0) return;
  const std::size_t blocks = whole_lines(blocks_bytes(items, format)), scales = scale_count(items);
  own_ = AlignedBlock(blocks + (scales + 3) * sizeof(float));
  auto* first_scale = reinterpret_cast<float*>(own_.data() + blocks);
  const kernels::RowBounds bounds =
      kernels::quantise_rows(items.data(), size(), width(), format, own_.data(), first_scale);
  float* three = first_scale + scales;
  three[0] = bounds.error, three[1] = bounds.norm, three[2] = bounds.unit;
  parts_ = {{own_.data(), blocks_bytes(items, format)}, {first_scale, scales}, {three, 3}};
  find_exceptions();
  recall_ = measure_recall(*this, items);
}

QuantisedIndex::QuantisedIndex(Tensor<const float> items, RowFormat format, const Parts& parts, const Recall& recall)
    : items_(items), format_(format), parts_(parts), recall_(recall) {
  const std::size_t blocks = size() > 0 ? blocks_bytes(items, format) : 0, scales = size() > 0 ? scale_count(items) : 0;
  check(parts.blocks.size() == blocks && parts.scales.size() == scales && (size() == 0 || parts.bounds.size() == 3),
        "retrieve", "a stored ", kind(), " index of ", parts.blocks.size(), " bytes, ", parts.scales.size(),
        " scales and ", parts.bounds.size(), " bounds does not fit ", size(), " items of ", width(),
        " dimensions; build it again");
  for (const float bound : parts.bounds)
    check(bound >= 0 && std::isfinite(bound), "retrieve", "a stored ", kind(), " index has the bound ", bound,
          "; build it again");
  for (size_t row = static_cast<size_t>(size()); row < scales; ++row)
    check(std::isnan(parts.scales[row]), "retrieve", "a stored ", kind(), " index has a row ", row, ", there are ",
          size(), "; build it again");
  find_exceptions();
}

void QuantisedIndex::find_exceptions() {
  for (int64_t row = 0; row < size(); ++row)
    if (std::isnan(parts_.scales[static_cast<size_t>(row)])) exceptions_.push_back(row);
}

void QuantisedIndex::search(Tensor<const float> queries, int64_t k, TopItems& out, const RowFilter& filter) const {
  if (!begin_search(*this, queries, k, out, filter)) return;
  const kernels::QuantisedRows coarse = {format_,
                                         size(),
                                         width(),
                                         parts_.blocks.data(),
                                         parts_.scales.data(),
                                         {parts_.bounds[0], parts_.bounds[1], parts_.bounds[2]},
                                         exceptions_.data(),
                                         static_cast<int64_t>(exceptions_.size())};
  kernels::quantised_topk(queries.data(), queries.rows(), items_.data(), coarse, k, out.rows.data(), out.values.data(),
                          out.counts.data(), rows_to_search(filter));
}

}  // namespace tt
