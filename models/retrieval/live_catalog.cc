#include <pthread.h>
#include <twotower/models/retrieval/live_catalog.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>

#include <algorithm>

namespace tt {

LiveCatalog::LiveCatalog(const Bundle& bundle, std::shared_ptr<const Index> index)
    : bundle_(bundle), catalog_(bundle, std::move(index)) {
  for (const Category& category : bundle.categories()) {
    Column& column = columns_.emplace_back();
    const FeatureEncoder::Source* source = bundle.item_encoder().find(category.name);
    if (!source || source->kind == FeatureEncoder::Source::Kind::numeric || source->width == 0) continue;
    column.first = source->first;
    column.codes.assign(static_cast<size_t>(source->width), -1);
    for (const auto& [text, at] : source->codes)
      if (const auto code = category.values.find(text))
        column.codes[static_cast<size_t>(at)] = static_cast<int32_t>(*code);
  }
}

namespace {

// A child of fork() has not the thread that held a lock, and would wait for it for ever. Held for no longer than it
// takes to copy a pointer, so one is enough for all.
std::mutex present;
[[maybe_unused]] const int fork_handler =
    pthread_atfork([] { present.lock(); }, [] { present.unlock(); }, [] { present.unlock(); });

}  // namespace

Catalog LiveCatalog::snapshot() const {
  const std::lock_guard lock(present);
  return catalog_;
}

// What make() is given stays the present state until it has made the next.
template <class Change>
void LiveCatalog::change(Change make) {
  const std::lock_guard one(changing_);
  Catalog next = make(snapshot());
  const std::lock_guard lock(present);
  std::swap(catalog_, next);  // the old state, if nobody has it, goes when the lock is gone
}

void LiveCatalog::remove(std::span<const std::string_view> ids) {
  change([&](const Catalog& now) { return now.without(ids); });
}

void LiveCatalog::set_available(std::span<const std::string_view> ids, bool available) {
  change([&](const Catalog& now) { return now.with_available(ids, available); });
}

void LiveCatalog::add(std::span<const std::string_view> ids, std::span<const float> features) {
  put(ids, features, codes_of(features, static_cast<int64_t>(ids.size())), Arrival::add);
}

void LiveCatalog::replace(std::span<const std::string_view> ids, std::span<const float> features) {
  put(ids, features, codes_of(features, static_cast<int64_t>(ids.size())), Arrival::replace);
}

Unknown LiveCatalog::add(std::span<const NewItem> items) { return put(items, Arrival::add); }
Unknown LiveCatalog::replace(std::span<const NewItem> items) { return put(items, Arrival::replace); }

// The codes of the columns that features hold.
std::vector<std::vector<std::vector<int32_t>>> LiveCatalog::codes_of(std::span<const float> features,
                                                                     int64_t items) const {
  const int64_t width = bundle_.config().item_features_size;
  std::vector<std::vector<std::vector<int32_t>>> out(columns_.size());
  for (size_t c = 0; c < columns_.size(); ++c) {
    const Column& column = columns_[c];
    out[c].resize(static_cast<size_t>(items));
    for (int64_t i = 0; i < items && static_cast<int64_t>(features.size()) == items * width; ++i)
      for (size_t v = 0; v < column.codes.size(); ++v)
        if (features[static_cast<size_t>(i * width + column.first) + v] > 0 && column.codes[v] >= 0)
          out[c][static_cast<size_t>(i)].push_back(column.codes[v]);
  }
  return out;
}

Unknown LiveCatalog::put(std::span<const NewItem> items, Arrival how) {
  const FeatureEncoder& encoder = bundle_.item_encoder();
  const int64_t width = bundle_.config().item_features_size, n = static_cast<int64_t>(items.size());
  Unknown unknown;
  std::vector<std::string_view> ids;
  std::vector<float> features(static_cast<size_t>(n * width));
  std::vector<NamedValue> read;  // what the model reads, or nobody does
  for (int64_t i = 0; i < n && width > 0; ++i) {
    read.clear();
    for (const NamedValue& feature : items[static_cast<size_t>(i)].features)
      if (encoder.find(feature.column) || !bundle_.category(feature.column)) read.push_back(feature);
    unknown.values += encoder.encode(read, "item", features.data() + i * width);
    if (const NamedValue* again = given_twice(items[static_cast<size_t>(i)].features))
      fail("catalog", "the feature \"", again->column, "\" of item \"", items[static_cast<size_t>(i)].id,
           "\" is given twice; give each once");
  }
  auto codes = codes_of(features, n);
  // Columns that the model does not read.
  const std::vector<Category>& categories = bundle_.categories();
  for (int64_t i = 0; i < n; ++i) {
    const NewItem& item = items[static_cast<size_t>(i)];
    ids.push_back(item.id);
    for (const NamedValue& feature : item.features)
      for (size_t c = 0; c < columns_.size(); ++c) {
        if (!columns_[c].codes.empty() || categories[c].name != feature.column || trim(feature.value).empty()) continue;
        if (const auto code = categories[c].values.find(trim(feature.value)))
          codes[c][static_cast<size_t>(i)] = {static_cast<int32_t>(*code)};
        else
          ++unknown.values;
      }
  }
  put(ids, features, std::move(codes), how);
  return unknown;
}

void LiveCatalog::put(std::span<const std::string_view> ids, std::span<const float> features,
                      std::vector<std::vector<std::vector<int32_t>>> codes, Arrival how) {
  const int64_t width = bundle_.config().item_features_size, n = static_cast<int64_t>(ids.size());
  check(width > 0, "catalog",
        "the model has no item features, so all added items would look the same; train one with item features");
  check(static_cast<int64_t>(features.size()) == n * width, "catalog", "the features of ", n, " added items hold ",
        features.size(), " numbers, the model reads ", width, " an item");
  // A row of the id table is the bundle's for ever, so nothing here depends on the present state.
  std::vector<int64_t> learnt;
  for (const std::string_view id : ids) {
    const auto row = bundle_.item_ids().find(id);
    learnt.push_back(row && bundle_.learnt_items()[static_cast<size_t>(*row)] != 0 ? *row : -1);
  }
  std::vector<float> vectors(static_cast<size_t>(n * bundle_.config().item_id_embedding_dim));
  encode_items(bundle_.model(), {.count = n, .features = features.data(), .ids = learnt.data()}, vectors.data());
  ItemBatch batch{{ids.begin(), ids.end()}, vectors, std::move(codes), {}};
  for (const Column& column : columns_) batch.keep.push_back(column.codes.empty());
  change([&](const Catalog& now) { return now.with(batch, how); });
}

}  // namespace tt
