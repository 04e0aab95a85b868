#include <twotower/models/bundle/bundle.h>
#include <twotower/models/bundle/fingerprint.h>
#include <twotower/models/bundle/format.h>
#include <twotower/models/bundle/packed_table.h>
#include <twotower/models/bundle/weights.h>
#include <twotower/tensor/error.h>

#include <nlohmann/json.hpp>

namespace tt {
namespace {

using namespace bundle_format;

constexpr const char* kMend = "; make it anew with `twotower pack`";

bool is_serving(const std::string& name) { return name.starts_with(kItems) || name.starts_with(kUsers); }
bool is_index(const std::string& name) { return name.starts_with(kIndex); }

// A text of a JSON object, or "".
std::string json_text(const std::string& object, const char* key) {
  const auto json = nlohmann::json::parse(object, nullptr, false);
  if (!json.is_object() || !json.contains(key) || !json[key].is_string()) return "";
  return json[key].get<std::string>();
}

}  // namespace

bool Bundle::is_bundle(const SafetensorsFile& file) {
  const auto found = file.metadata().find(kFormatKey);
  return found != file.metadata().end() && found->second == kFormat;
}

Bundle Bundle::open(const std::string& path) {
  Bundle bundle;
  bundle.file_ = SafetensorsFile::open(path);
  bundle.read();
  return bundle;
}

Bundle Bundle::view(const void* data, std::size_t bytes, const std::string& name) {
  Bundle bundle;
  bundle.file_ = SafetensorsFile::view(data, bytes, name);
  bundle.read();
  return bundle;
}

void Bundle::read() {
  check(is_bundle(file_), where(),
        "is no bundle: its metadata does not say so; give a bundle.safetensors, or make one with `twotower pack`");
  read_metadata();
  read_model();
  read_items();
  read_index();
  read_users();
}

template <class T>
const T* Bundle::tensor(const std::string& name, const std::vector<int64_t>& shape) const {
  check(file_.has(name), where(), "\"", name, "\" is missing", kMend);
  const TensorEntry& entry = file_.entry(name);
  bool fits = entry.dtype == dtype_of<T>() && entry.shape.size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] == -1 || shape[i] == entry.shape[i];
  check(fits, where(), "\"", name, "\" is ", dtype_name(entry.dtype), " ", shape_text(entry.shape), ", expected ",
        dtype_name(dtype_of<T>()), " ", shape_text(shape), kMend);
  return file_.data<T>(name);
}

// A matrix where it lies, or unpacked.
const float* Bundle::floats(const std::string& name, const std::vector<int64_t>& shape) {
  const DType dtype = file_.has(name) ? file_.entry(name).dtype : DType::F32;
  if ((dtype != DType::I8 && dtype != DType::F16) || shape.size() != 2) return tensor<float>(name, shape);
  const TensorEntry& entry = file_.entry(name);
  check(entry.shape == shape, where(), "\"", name, "\" has shape ", shape_text(entry.shape), ", expected ",
        shape_text(shape), kMend);
  float* out = unpacked_.emplace_back(new float[static_cast<size_t>(entry.elements())]).get();
  if (dtype == DType::F16)
    unpack_fp16(reinterpret_cast<const uint16_t*>(entry.data), shape[0], shape[1], out);
  else
    unpack_int8(reinterpret_cast<const int8_t*>(entry.data), tensor<float>(name + kScale, {shape[0]}), shape[0],
                shape[1], out);
  return out;
}

void Bundle::read_metadata() {
  const auto& metadata = file_.metadata();
  const auto text = [&](const char* key) -> const std::string& {
    const auto found = metadata.find(key);
    check(found != metadata.end(), where(), "its metadata lacks \"", key, "\"", kMend);
    return found->second;
  };
  const std::string& version = text(kVersionKey);
  check(version == kVersion || version == kPackedVersion, where(), "has format version ", version,
        ", this program reads ", kVersion, " and ", kPackedVersion, kMend);
  Fingerprint header;
  for (const auto& [key, value] : metadata)
    if (key != kHeaderKey) header.add_text(key), header.add_text(value);
  check(header.text() == text(kHeaderKey), where(),
        "its metadata is not what was written: the file is damaged or was "
        "changed",
        kMend);
  text(kWeightsKey), text(kSampleKey), text(kVectorsKey), text(kServingKey);
  config_ = model_config_from_json(text(kModelKey), where());
  user_encoder_ = FeatureEncoder(text(kUserFeaturesKey), where());
  item_encoder_ = FeatureEncoder(text(kItemFeaturesKey), where());
  const auto check_width = [&](const char* side, int64_t reads, int64_t width) {
    check(reads == 0 || reads == width, where(), "the model reads ", reads, " ", side, " features, the encoder makes ",
          width, kMend);
  };
  check_width("user", config_.user_features_size, user_encoder_.width());
  check_width("item", config_.item_features_size, item_encoder_.width());
  try {
    const auto data = nlohmann::json::parse(text(kDataKey));
    data_ = {data.at("protocol").get<std::string>(), data.at("tasks").get<std::vector<std::string>>(),
             data.at("actions").get<std::vector<std::string>>(), data.at("rows").get<std::string>(),
             data.at("log").get<std::string>()};
    title_ = data.at("title").get<std::string>();
  } catch (const nlohmann::json::exception& error) {
    fail(where(), "what it says of its data cannot be read (", error.what(), ")", kMend);
  }
}

// The weights are used where they lie, unless they are packed.
void Bundle::read_model() {
  std::vector<std::string> used;
  model_ = std::make_unique<TwoTower<float>>(config_, [&](const std::string& name, const Shape& shape) {
    std::vector<int64_t> dims;
    for (int axis = 0; axis < shape.rank(); ++axis) dims.push_back(shape[axis]);
    used.push_back(name);
    if (file_.has(name) && file_.entry(name).dtype == DType::I8) used.push_back(name + kScale);
    return Tensor<const float>(floats(name, dims), shape);
  });
  for (const std::string& name : file_.names())
    check(is_serving(name) || is_index(name) || std::find(used.begin(), used.end(), name) != used.end(), where(), "\"",
          name, "\" is none of the model's weights", kMend);
  check(sample_of(weights_of(model_->parameters())) == file_.metadata().at(kSampleKey), where(),
        "its weights are not those that its item vectors were made with", kMend);
}

IdTable Bundle::texts(const std::string& prefix, int64_t rows) const {
  const int64_t* offsets = tensor<int64_t>(prefix + "_offsets", {rows < 0 ? -1 : rows + 1});
  const uint8_t* bytes = tensor<uint8_t>(prefix + "_bytes", {-1});
  const int64_t n = file_.entry(prefix + "_offsets").elements() - 1;
  check(n >= 0, where(), "\"", prefix, "_offsets\" is empty", kMend);
  return {offsets, bytes, n, file_.entry(prefix + "_bytes").elements(), tensor<int32_t>(prefix + "_order", {n})};
}

void Bundle::read_items() {
  items_.ids = texts("items.id", -1);
  const int64_t c = items_.ids.size(), d = config_.item_id_embedding_dim;
  check(c > 0, where(), "has no items", kMend);
  items_.vectors = {floats("items.vectors", {c, d}), {c, d}};
  check(sample_of({Weight{"items.vectors", {c, d}, items_.vectors.data()}}) == file_.metadata().at(kVectorsKey),
        where(), "its item vectors are not those that were made with its weights", kMend);
  items_.learnt = tensor<uint8_t>("items.learnt", {c});
  for (int64_t r = config_.item_id_hash_size; r < c; ++r)  // items that came after training
    check(items_.learnt[r] == 0, where(), "says that training has met item row ", r, ", its model knows ",
          config_.item_id_hash_size, kMend);
  if (file_.has("items.available")) items_.available = tensor<uint8_t>("items.available", {c});
  if (file_.has("items.removed")) items_.removed = tensor<uint8_t>("items.removed", {c});
  const std::string end = ".offsets";
  for (const std::string& name : file_.names()) {
    if (!name.starts_with(kCategory) || !name.ends_with(end)) continue;
    const std::string base = name.substr(0, name.size() - end.size());
    Category& category = items_.categories.emplace_back();
    category.name = base.substr(std::string(kCategory).size());
    category.offsets = tensor<int64_t>(name, {c + 1});
    category.codes = tensor<int32_t>(base + ".codes", {-1});
    category.rows = c, category.count = file_.entry(base + ".codes").elements();
    category.values = texts(base + ".text", -1);
  }
}

// Its kind's own parts are read by who searches with it.
void Bundle::read_index() {
  const auto& metadata = file_.metadata();
  const auto facts = metadata.find(kIndexKey);
  const bool held = std::any_of(file_.names().begin(), file_.names().end(), is_index);
  check(held == (facts != metadata.end()) && held == (metadata.count(kIndexTensorsKey) > 0), where(),
        held ? "has an index but does not say what it is" : "says that it has an index, which is missing", kMend);
  if (!held) return;
  index_facts_ = facts->second;
  check(json_text(index_facts_, "vectors_sample") == metadata.at(kVectorsKey), where(),
        "its index was not built from its item vectors", kMend);
}

Bundle::Lists Bundle::lists(const std::string& name, int64_t rows) const {
  Lists out;
  out.offsets = tensor<int64_t>("users." + name + "_offsets", {rows + 1});
  out.items = tensor<int32_t>("users." + name + "_items", {-1});
  out.count = file_.entry("users." + name + "_items").elements();
  return out;
}

void Bundle::read_users() {
  users_.present = file_.has("users.id_offsets");
  if (!users_.present) {
    for (const std::string& name : file_.names())
      check(!name.starts_with(kUsers), where(), "has \"", name, "\" but no ids of users", kMend);
    return;
  }
  users_.ids = texts("users.id", -1);
  const int64_t u = users_.ids.size();
  check(u <= config_.user_id_hash_size, where(), "has ", u, " users, its model knows ", config_.user_id_hash_size,
        kMend);
  users_.learnt = tensor<uint8_t>("users.learnt", {u});
  if (config_.user_features_size > 0)
    users_.features = tensor<float>("users.features", {u, config_.user_features_size});
  if (config_.history) {
    users_.history = lists("history", u);
    if (config_.history_actions > 0)
      users_.actions = tensor<uint8_t>("users.history_actions", {users_.history.count, config_.history_actions});
  }
  users_.seen = lists("seen", u);
}

const std::string& Bundle::weights_fingerprint() const { return file_.metadata().at(kWeightsKey); }

std::span<const uint8_t> Bundle::learnt_items() const { return {items_.learnt, static_cast<size_t>(num_items())}; }
std::span<const uint8_t> Bundle::available_items() const {
  return {items_.available, items_.available ? static_cast<size_t>(num_items()) : 0};
}
std::span<const uint8_t> Bundle::removed_items() const {
  return {items_.removed, items_.removed ? static_cast<size_t>(num_items()) : 0};
}
std::span<const uint8_t> Bundle::learnt_users() const { return {users_.learnt, static_cast<size_t>(num_users())}; }

const Category* Bundle::category(std::string_view name) const {
  for (const Category& category : items_.categories)
    if (category.name == name) return &category;
  return nullptr;
}
const Category* Bundle::title() const { return category(title_); }

// Messages are put together only where they are thrown: what serves a query allocates nothing.
void Bundle::check_user(int64_t user) const {
  if (user < 0 || user >= num_users()) fail(where(), "has no user row ", user, ", there are ", num_users());
}

std::span<const int32_t> Bundle::list(const Lists& lists, int64_t user, const char* name) const {
  check_user(user);
  if (!lists.offsets) return {};
  const int64_t from = lists.offsets[user], to = lists.offsets[user + 1];
  if (from < 0 || from > to || to > lists.count)
    fail<Damaged>(where(), "the offsets of \"users.", name, "\" are damaged", kMend);
  return {lists.items + from, static_cast<size_t>(to - from)};
}

std::span<const float> Bundle::user_features(int64_t user) const {
  check_user(user);
  const int64_t width = users_.features ? config_.user_features_size : 0;
  return {users_.features + user * width, static_cast<size_t>(width)};
}

std::span<const int32_t> Bundle::user_history(int64_t user) const {
  return list(users_.history, user, "history_items");
}

std::span<const uint8_t> Bundle::user_history_actions(int64_t user) const {
  const auto items = user_history(user);
  if (!users_.actions || items.empty()) return {};
  const int64_t from = items.data() - users_.history.items;
  return {users_.actions + from * config_.history_actions, items.size() * static_cast<size_t>(config_.history_actions)};
}

std::span<const int32_t> Bundle::seen(int64_t user) const { return list(users_.seen, user, "seen_items"); }

void Bundle::verify_lists(const Lists& lists, const char* name) const {
  for (int64_t u = 0; lists.offsets && u < num_users(); ++u)
    for (const int32_t item : list(lists, u, name))
      check(item >= 0 && item < num_items(), where(), "user row ", u, " has the item row ", item, " in \"users.", name,
            "\", there are ", num_items(), kMend);
}

void Bundle::verify() const {
  check(fingerprint_of(weights_of(model_->parameters())) == weights_fingerprint(), where(),
        "its weights are not those that were written", kMend);
  std::map<std::string, TensorEntry> serving;
  for (const std::string& name : file_.names())
    if (is_serving(name)) serving[name] = file_.entry(name);
  check(fingerprint_of(serving) == file_.metadata().at(kServingKey), where(),
        "its ids, vectors or histories are not those that were written", kMend);
  if (!index_facts_.empty()) {
    std::map<std::string, TensorEntry> index;
    for (const std::string& name : file_.names())
      if (is_index(name)) index[name] = file_.entry(name);
    check(fingerprint_of(index) == file_.metadata().at(kIndexTensorsKey), where(),
          "its index is not the one that was written", kMend);
    check(fingerprint_of({Weight{kVectors, {num_items(), items_.vectors.cols()}, items_.vectors.data()}}) ==
              json_text(index_facts_, "vectors"),
          where(), "its index was not built from its item vectors", kMend);
  }
  const auto verify_texts = [&](const IdTable& table, const char* what) {
    for (int64_t r = 0; r < table.size(); ++r) {
      const int32_t row = table.order()[r];
      check(row >= 0 && row < table.size() && (r == 0 || table.text(table.order()[r - 1]) < table.text(row)), where(),
            "the order of ", what, " is damaged", kMend);
    }
  };
  verify_texts(items_.ids, "item ids");
  for (const Category& category : items_.categories) {
    verify_texts(category.values, "a category's texts");
    for (int64_t r = 0; r < num_items(); ++r)
      for (const int32_t code : category.of(r))
        check(code >= 0 && code < category.values.size(), where(), "item row ", r, " has the code ", code,
              " in column \"", category.name, "\", there are ", category.values.size(), kMend);
  }
  if (!users_.present) return;
  verify_texts(users_.ids, "user ids");
  verify_lists(users_.history, "history_items");
  verify_lists(users_.seen, "seen_items");
}

}  // namespace tt
