#include <twotower/models/bundle/fingerprint.h>
#include <twotower/models/bundle/format.h>
#include <twotower/models/bundle/weights.h>
#include <twotower/models/bundle/writer.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/files/safetensors.h>

#include <algorithm>
#include <deque>
#include <nlohmann/json.hpp>

namespace tt {
namespace {

using namespace bundle_format;

// What serving reads beside the weights.
class ServingTensors {
 public:
  template <class T>
  void add(const std::string& name, const T* data, std::vector<int64_t> shape) {
    add(name, dtype_of<T>(), data, std::move(shape));
  }
  void add(const std::string& name, DType dtype, const void* data, std::vector<int64_t> shape) {
    std::size_t bytes = dtype_size(dtype);
    for (const int64_t size : shape) bytes *= static_cast<std::size_t>(size);
    check(data || bytes == 0, "bundle", "\"", name, "\" is not given");
    tensors_[name] = {dtype, std::move(shape), static_cast<const std::byte*>(data), bytes};
  }
  void add_texts(const std::string& prefix, const IdTable& table) {
    add(prefix + "_offsets", table.offsets(), {table.size() + 1});
    add(prefix + "_bytes", table.bytes(), {table.byte_count()});
    add(prefix + "_order", table.order(), {table.size()});
  }
  const std::map<std::string, TensorEntry>& all() const { return tensors_; }

 private:
  std::map<std::string, TensorEntry> tensors_;
};

// To a SafetensorsWriter or ServingTensors.
template <class Tensors>
void add_packed(Tensors& to, const std::string& name, const PackedTable& table, const std::vector<int64_t>& shape) {
  to.add(name, table.dtype, table.bytes.data(), shape);
  if (!table.scales.empty()) to.add(name + kScale, table.scales.data(), {shape[0]});
}

// packed: the vectors in fewer bits; null: as they are.
void add_items(const BundleContent& content, const PackedTable* packed, ServingTensors& to) {
  const BundleItems& items = content.items;
  const ModelConfig& config = content.model->config();
  const int64_t c = items.ids.size(), d = config.item_id_embedding_dim;
  check(items.vectors.shape() == Shape{c, d}, "bundle", "there are ", c, " items of width ", d, ", but vectors ",
        items.vectors.shape());
  for (int64_t r = config.item_id_hash_size; r < c; ++r)
    check(items.learnt[r] == 0, "bundle", "training has met item row ", r, ", the model knows ",
          config.item_id_hash_size);
  to.add_texts("items.id", items.ids);
  if (packed)
    add_packed(to, kVectors, *packed, {c, d});
  else
    to.add(kVectors, items.vectors.data(), {c, d});
  to.add("items.learnt", items.learnt, {c});
  if (items.available) to.add("items.available", items.available, {c});
  if (items.removed) to.add("items.removed", items.removed, {c});
  for (const Category& category : items.categories) {
    const std::string name = kCategory + category.name;
    to.add(name + ".offsets", category.offsets, {c + 1});
    to.add(name + ".codes", category.codes, {category.count});
    to.add_texts(name + ".text", category.values);
  }
}

void add_users(const BundleContent& content, ServingTensors& to) {
  if (!content.users) return;
  const BundleUsers& users = *content.users;
  const ModelConfig& config = content.model->config();
  const int64_t u = users.ids.size();
  const auto n = static_cast<int64_t>(users.history_items.size());
  check(u <= config.user_id_hash_size, "bundle", "there are ", u, " users, the model knows ", config.user_id_hash_size);
  to.add_texts("users.id", users.ids);
  to.add("users.learnt", users.learnt, {u});
  if (config.user_features_size > 0) to.add("users.features", users.features, {u, config.user_features_size});
  if (config.history) {
    to.add("users.history_offsets", users.history_offsets.data(), {u + 1});
    to.add("users.history_items", users.history_items.data(), {n});
    if (config.history_actions > 0)
      to.add("users.history_actions", users.history_actions.data(), {n, config.history_actions});
  }
  to.add("users.seen_offsets", users.seen_offsets.data(), {u + 1});
  to.add("users.seen_items", users.seen_items.data(), {static_cast<int64_t>(users.seen_items.size())});
}

// With the index, where there is one, in the place of one that the metadata tell of.
void write(SafetensorsWriter& writer, const std::string& path, std::map<std::string, std::string> metadata,
           const BundleIndex& index) {
  for (const auto& [name, entry] : index.tensors) {
    check(name.starts_with(kIndex), "bundle", "\"", name, "\" is no part of an index");
    writer.add(name, entry.dtype, entry.data, entry.shape);
  }
  metadata.erase(kIndexKey), metadata.erase(kIndexTensorsKey);
  if (!index.tensors.empty()) {
    metadata[kVersionKey] = kPackedVersion;
    metadata[kIndexKey] = index.facts;
    metadata[kIndexTensorsKey] = fingerprint_of(index.tensors);
  }
  metadata.erase(kHeaderKey);
  Fingerprint header;
  for (const auto& [key, value] : metadata) {
    writer.metadata(key, value);
    header.add_text(key), header.add_text(value);
  }
  writer.metadata(kHeaderKey, header.text());
  writer.write(path);
}

}  // namespace

void write_bundle(const std::string& path, const BundleContent& content, TableType tables) {
  ModelConfig config = content.model->config();
  std::vector<Weight> weights = weights_of(content.model->parameters());
  const std::vector<float> nobody(static_cast<size_t>(config.user_id_embedding_dim), 0.0f);
  if (!content.users) {  // a row a user is a user's data, too
    config.user_id_hash_size = 1;
    for (Weight& weight : weights)
      if (weight.name == kUserTable) weight.shape[0] = 1, weight.data = nobody.data();
  }
  const bool pack = tables != TableType::f32;
  SafetensorsWriter writer;
  std::deque<PackedTable> packed;
  for (Weight& weight : weights) {
    if (!pack || (weight.name != kUserTable && weight.name != kItemTable)) {
      writer.add(weight.name, weight.data, weight.shape);
      continue;
    }
    const Tensor<const float> table(weight.data, {weight.shape[0], weight.shape[1]});
    add_packed(writer, weight.name, packed.emplace_back(pack_table(weight.name, table, tables)), weight.shape);
    weight.data = packed.back().read.get();
  }
  Tensor<const float> made = content.items.vectors;
  const PackedTable* vectors_packed = nullptr;
  if (pack && made) {
    vectors_packed = &packed.emplace_back(pack_table(kVectors, made, tables));
    made = {vectors_packed->read.get(), made.shape()};
  }
  ServingTensors tensors;
  add_items(content, vectors_packed, tensors);
  add_users(content, tensors);
  for (const auto& [name, entry] : tensors.all()) writer.add(name, entry.dtype, entry.data, entry.shape);

  const nlohmann::ordered_json data = {{"protocol", content.data.protocol}, {"tasks", content.data.tasks},
                                       {"actions", content.data.actions},   {"title", content.items.title},
                                       {"rows", content.data.rows},         {"log", content.data.log}};
  const Weight vectors{kVectors, {made.rows(), made.cols()}, made.data()};
  const std::pair<const char*, std::string> metadata[] = {{kFormatKey, kFormat},
                                                          {kVersionKey, pack ? kPackedVersion : kVersion},
                                                          {kModelKey, to_json(config)},
                                                          {kDataKey, data.dump()},
                                                          {kUserFeaturesKey, content.user_encoder.json()},
                                                          {kItemFeaturesKey, content.item_encoder.json()},
                                                          {kWeightsKey, fingerprint_of(weights)},
                                                          {kSampleKey, sample_of(weights)},
                                                          {kVectorsKey, sample_of({vectors})},
                                                          {kServingKey, fingerprint_of(tensors.all())}};
  write(writer, path, {std::begin(metadata), std::end(metadata)}, content.index);
}

void write_with_index(const std::string& path, const SafetensorsFile& bundle, const BundleIndex& index) {
  SafetensorsWriter writer;
  for (const std::string& name : bundle.names()) {
    if (name.starts_with(kIndex)) continue;
    const TensorEntry& entry = bundle.entry(name);
    writer.add(name, entry.dtype, entry.data, entry.shape);
  }
  write(writer, path, bundle.metadata(), index);
}

}  // namespace tt
