#include <twotower/models/retrieval/catalog.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>

#include <algorithm>

namespace tt {

void encode_items(const TwoTower<float>& model, const ItemRows& items, float* out) {
  constexpr int64_t kTile = 4096;
  const int64_t width = model.config().item_features_size, d = model.config().item_id_embedding_dim;
  Arena arena;
  Tape<float> tape(arena, /*recording=*/false);
  for (int64_t lo = 0; lo < items.count; lo += kTile) {
    const int64_t n = std::min(kTile, items.count - lo);
    const Tensor<int64_t> id = make_tensor<int64_t>(arena, {n});
    for (int64_t i = 0; i < n; ++i) id[i] = items.learnt && items.learnt[lo + i] ? lo + i : -1;
    ItemInputs<float> inputs;
    inputs.id = id;
    if (width > 0) inputs.features = {items.features + lo * width, {n, width}};
    const Tensor<float> v = model.items(tape, inputs).value();
    std::copy(v.begin(), v.end(), out + lo * d);
    tape.reset();
  }
}

Selection::Selection(Tensor<const float> all, int64_t first, int64_t count,
                     std::shared_ptr<const std::vector<float>> owner)
    : first_(first), vectors_(std::move(owner)), index_({all.data() + first * all.cols(), {count, all.cols()}}) {}

Selection::Selection(Tensor<const float> all, std::vector<int64_t> rows) : rows_(std::move(rows)) {
  const int64_t d = all.cols(), n = static_cast<int64_t>(rows_.size());
  auto vectors = std::make_shared<std::vector<float>>(static_cast<size_t>(n * d));
  for (int64_t i = 0; i < n; ++i) std::copy_n(all.row(rows_[static_cast<size_t>(i)]), d, vectors->data() + i * d);
  if (n > 0) index_ = ExactIndex({vectors->data(), {n, d}});
  vectors_ = std::move(vectors);
}

int64_t Selection::place(int64_t row) const {
  if (rows_.empty()) return row >= first_ && row < first_ + size() ? row - first_ : -1;
  const auto at = std::lower_bound(rows_.begin(), rows_.end(), row);
  return at != rows_.end() && *at == row ? at - rows_.begin() : -1;
}

Catalog::Catalog(const Bundle& bundle)
    : vectors_(bundle.item_vectors()),
      learnt_(bundle.learnt_items()),
      available_(bundle.available_items()),
      ids_(bundle.item_ids()),
      categories_(bundle.categories()),
      title_(bundle.title()),
      weights_(bundle.weights_fingerprint()),
      all_(on_offer()) {}

Catalog::Catalog(Tensor<const float> vectors, std::span<const uint8_t> learnt, std::span<const uint8_t> available)
    : vectors_(vectors), learnt_(learnt), available_(available), all_(on_offer()) {
  check(vectors.rows() == static_cast<int64_t>(learnt.size()), "catalog", "there are ", vectors.rows(),
        " vectors, but it is said of ", learnt.size(), " items whether training has met them");
}

Selection Catalog::on_offer() const {
  if (available_.empty()) return {vectors_, 0, vectors_.rows(), own_vectors_};
  return select([](int64_t) { return true; });
}

void Catalog::add(const TwoTower<float>& model, const std::vector<std::string>& ids, std::span<const float> features) {
  const int64_t width = model.config().item_features_size, n = static_cast<int64_t>(ids.size()), d = vectors_.cols();
  check(width > 0, "catalog",
        "the model has no item features, so all added items would look the same; train one with item features");
  check(static_cast<int64_t>(features.size()) == n * width, "catalog", "the features of ", n, " added items hold ",
        features.size(), " numbers, the model reads ", width, " an item");
  check(model.config().item_id_embedding_dim == d, "catalog", "the model makes vectors of width ",
        model.config().item_id_embedding_dim, ", the catalog's have ", d);
  std::unordered_map<std::string, int64_t> added = added_;
  for (int64_t i = 0; i < n; ++i) {
    const std::string& id = ids[static_cast<size_t>(i)];
    check(!ids_.find(id) && added.emplace(id, size() + i).second, "catalog", "item \"", id,
          "\" is there already; leave it out");
  }
  auto vectors = std::make_shared<std::vector<float>>(vectors_.begin(), vectors_.end());
  vectors->resize(static_cast<size_t>((size() + n) * d));
  encode_items(model, {n, nullptr, features.data()}, vectors->data() + size() * d);
  vectors_ = {vectors->data(), {size() + n, d}};
  own_vectors_ = std::move(vectors);
  added_ = std::move(added);
  added_ids_.insert(added_ids_.end(), ids.begin(), ids.end());
  all_ = on_offer();
}

std::string_view Catalog::id(int64_t row) const {
  if (row < known()) return ids_.text(row);
  check(row < size(), "catalog", "there is no item row ", row, ", there are ", size());
  return added_ids_[static_cast<size_t>(row - known())];
}

std::optional<int64_t> Catalog::find(std::string_view id) const {
  if (const auto row = ids_.find(id)) return row;
  if (added_.empty()) return std::nullopt;
  const auto at = added_.find(std::string(id));
  if (at == added_.end()) return std::nullopt;
  return at->second;
}

std::string_view Catalog::title(int64_t row) const {
  const auto codes = title_ ? title_->of(row) : std::span<const int32_t>();
  return codes.empty() ? std::string_view() : title_->values.text(codes[0]);
}

Selection Catalog::where(std::string_view column, std::string_view value) const {
  return where({{std::string(column), std::string(value)}});
}

Selection Catalog::where(const std::vector<std::pair<std::string, std::string>>& conditions) const {
  if (conditions.empty()) return all_;
  std::vector<std::pair<const Category*, int32_t>> wanted;
  for (const auto& [column, value] : conditions) {
    const auto category =
        std::find_if(categories_.begin(), categories_.end(), [&](const Category& c) { return c.name == column; });
    std::vector<std::string> names;
    for (const Category& c : categories_) names.push_back(c.name);
    const std::string nearest = nearest_name(column, names);
    check(category != categories_.end(), "filter", "items have no column \"", column, "\" of categories",
          names.empty()     ? "; import item features that are categories"
          : nearest.empty() ? "; `twotower inspect` lists them"
                            : "; did you mean \"" + nearest + "\"?");
    const auto code = category->values.find(value);
    if (!code) {
      std::vector<std::string_view> values;
      for (int64_t v = 0; v < std::min<int64_t>(category->values.size(), 10000); ++v)
        values.push_back(category->values.text(v));
      const std::string near = nearest_name(value, values);
      fail("filter", "no item has ", column, " = \"", value, "\"",
           near.empty() ? "; give a value as it stands in the imported data" : "; did you mean \"" + near + "\"?");
    }
    wanted.emplace_back(&*category, static_cast<int32_t>(*code));
  }
  return select([&](int64_t row) {
    return std::all_of(wanted.begin(), wanted.end(), [&](const auto& w) { return w.first->has(row, w.second); });
  });
}

}  // namespace tt
