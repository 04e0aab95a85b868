#include <twotower/models/bundle/format.h>
#include <twotower/models/bundle/weights.h>
#include <twotower/models/retrieval/index/exact.h>
#include <twotower/models/retrieval/index/quantised.h>
#include <twotower/models/retrieval/index/stored_index.h>
#include <twotower/tensor/error.h>

#include <nlohmann/json.hpp>

namespace tt {
namespace {

constexpr const char *kBlocks = "index.blocks", *kScales = "index.scales", *kBounds = "index.bounds",
                     *kGround = "index.ground", *kSizes = "index.level_sizes", *kRows = "index.level_rows",
                     *kLinks = "index.level_links";

template <class T>
TensorEntry entry_of(DType dtype, std::span<const T> values, std::vector<int64_t> shape) {
  return {dtype, std::move(shape), reinterpret_cast<const std::byte*>(values.data()), values.size_bytes()};
}
template <class T>
TensorEntry entry_of(std::span<const T> values, std::vector<int64_t> shape) {
  return entry_of(dtype_of<T>(), values, std::move(shape));
}

template <class T>
std::span<const T> values(const Bundle& bundle, const char* name, const std::vector<int64_t>& shape) {
  const T* data = bundle.file().data<T>(name, shape);
  return {data, static_cast<size_t>(bundle.file().entry(name).elements())};
}

BundleIndex parts_of(const QuantisedIndex& index) {
  const QuantisedIndex::Parts parts = index.parts();
  const auto bytes = std::as_bytes(parts.blocks);
  BundleIndex out;
  out.tensors[kBlocks] = entry_of(DType::U8, bytes, {static_cast<int64_t>(bytes.size())});
  out.tensors[kScales] = entry_of(parts.scales, {static_cast<int64_t>(parts.scales.size())});
  out.tensors[kBounds] = entry_of(parts.bounds, {static_cast<int64_t>(parts.bounds.size())});
  return out;
}

BundleIndex parts_of(const HnswIndex& index) {
  const HnswIndex::Parts& parts = index.parts();
  const auto rows = static_cast<int64_t>(parts.level_rows.size());
  BundleIndex out;
  out.tensors[kGround] = entry_of(parts.ground, {index.size(), 2 * parts.links});
  out.tensors[kSizes] = entry_of(parts.level_sizes, {static_cast<int64_t>(parts.level_sizes.size())});
  out.tensors[kRows] = entry_of(parts.level_rows, {rows});
  out.tensors[kLinks] = entry_of(parts.level_ground, {rows, parts.links});
  return out;
}

std::shared_ptr<const Index> quantised(const Bundle& bundle, RowFormat format, const Recall& recall) {
  const auto blocks = values<uint8_t>(bundle, kBlocks, {-1});
  const QuantisedIndex::Parts parts{std::as_bytes(blocks), values<float>(bundle, kScales, {-1}),
                                    values<float>(bundle, kBounds, {-1})};
  return std::make_shared<QuantisedIndex>(bundle.item_vectors(), format, parts, recall);
}

std::shared_ptr<const Index> hnsw(const Bundle& bundle, const nlohmann::json& facts, const Recall& recall) {
  const HnswIndex::Parts parts{facts.at("ef").get<int64_t>(),
                               facts.at("links").get<int64_t>(),
                               facts.at("entry").get<int64_t>(),
                               values<int32_t>(bundle, kGround, {-1, -1}),
                               values<int64_t>(bundle, kSizes, {-1}),
                               values<int32_t>(bundle, kRows, {-1}),
                               values<int32_t>(bundle, kLinks, {-1, -1})};
  return std::make_shared<HnswIndex>(bundle.item_vectors(), parts, recall);
}

}  // namespace

std::shared_ptr<const Index> stored_index(const Bundle& bundle) {
  if (bundle.index_facts().empty()) return make_index("exact", bundle.item_vectors());
  const std::string where = "bundle " + bundle.path();
  try {
    const auto facts = nlohmann::json::parse(bundle.index_facts());
    const std::string kind = facts.at("kind").get<std::string>();
    const auto& measured = facts.at("recall");
    const Recall recall{measured.at("share").get<double>(), measured.at("queries").get<int64_t>(),
                        measured.at("k").get<int64_t>()};
    if (kind == "int8" || kind == "fp16")
      return quantised(bundle, kind == "int8" ? RowFormat::int8 : RowFormat::fp16, recall);
    if (kind == "hnsw") return hnsw(bundle, facts, recall);
    fail(where, "has an index of the kind \"", kind, "\", this program knows exact, fp16, int8 and hnsw",
         "; make it anew with `twotower pack`");
  } catch (const nlohmann::json::exception& error) {
    fail(where, "what it says of its index cannot be read (", error.what(), "); make it anew with `twotower pack`");
  }
}

std::shared_ptr<const Index> index_of(const Bundle& bundle, std::string_view kind) {
  const auto stored = stored_index(bundle);
  return kind.empty() || kind == stored->kind() ? stored : make_index(kind, bundle.item_vectors());
}

std::shared_ptr<const Index> index_like(const Bundle& bundle, Tensor<const float> vectors) {
  const auto stored = stored_index(bundle);
  HnswOptions options;
  if (const auto* graph = dynamic_cast<const HnswIndex*>(stored.get())) options.links = graph->parts().links;
  return make_index(stored->kind(), vectors, options);
}

BundleIndex index_parts(const Index& index, Tensor<const float> vectors) {
  BundleIndex out;
  nlohmann::ordered_json facts = {{"kind", index.kind()}};
  if (const auto* graph = dynamic_cast<const HnswIndex*>(&index)) {
    out = parts_of(*graph);
    facts["ef"] = graph->parts().ef, facts["links"] = graph->parts().links, facts["entry"] = graph->parts().entry;
  } else if (const auto* coarse = dynamic_cast<const QuantisedIndex*>(&index)) {
    out = parts_of(*coarse);
  }
  const Recall recall = index.recall();
  facts["recall"] = {{"share", recall.share}, {"queries", recall.queries}, {"k", recall.k}};
  const Weight bound{bundle_format::kVectors, {vectors.rows(), vectors.cols()}, vectors.data()};
  facts["vectors"] = fingerprint_of({bound});
  facts["vectors_sample"] = sample_of({bound});
  out.facts = facts.dump();
  return out;
}

BundleIndex index_parts(const Bundle& bundle) {
  BundleIndex out{bundle.index_facts(), {}};
  for (const std::string& name : bundle.file().names())
    if (name.starts_with(bundle_format::kIndex)) out.tensors[name] = bundle.file().entry(name);
  return out;
}

std::shared_ptr<const Index> write_with_index(const std::string& path, const Bundle& bundle, std::string_view kind,
                                              const HnswOptions& options) {
  const auto index = make_index(kind, bundle.item_vectors(), options);
  write_with_index(path, bundle.file(), index_parts(*index, bundle.item_vectors()));
  return index;
}

}  // namespace tt
