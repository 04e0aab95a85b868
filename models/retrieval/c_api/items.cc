// Items of the C interface: their vectors, and how they come, change and go.

#include <twotower/models/retrieval/c_api/state.h>
#include <twotower/models/retrieval/save_bundle.h>

#include <algorithm>

namespace tt::c_api {
namespace {

void read_features(const tt_item& item, const char* where, std::vector<NamedValue>& out) {
  check_array(item.features, item.num_features, where, "items[].features");
  out.clear();
  for (size_t i = 0; i < item.num_features; ++i) {
    need(item.features[i].name, where, "items[].features[].name");
    need(item.features[i].value, where, "items[].features[].value");
    out.push_back({item.features[i].name, item.features[i].value});
  }
}

// Changes the items by change(LiveCatalog&). An Error that is of no kind means that what the caller gave is wrong.
template <class Change>
tt_status change_items(tt_model* model, const char* where, size_t count, const char* what, Change change) noexcept {
  return in_model(model, where, TT_ERROR_ARGUMENT, [&](Model& m) {
    change(m);
    m.changes.fetch_add(1, std::memory_order_release);
    m.tell(TT_LOG_INFO, "[catalog] ", count, " items ", what, ", ", m.live.snapshot().size(), " are there");
  });
}

tt_status put_items(tt_model* model, const tt_item* items, size_t count, size_t* unknown_values, bool add,
                    const char* where) noexcept {
  return change_items(model, where, count, add ? "added" : "replaced", [&](Model& m) {
    const Structs<tt_item> given(items, count, where, "items");
    if (m.bundle.config().item_features_size == 0)
      refuse(TT_ERROR_UNSUPPORTED, where,
             "the model has no item features, so all new items would look the same; train one with item features");
    std::vector<NewItem> batch;
    for (size_t i = 0; i < count; ++i) {
      const tt_item item = given[i];
      need(item.id, where, "items[].id");
      if (!is_utf8(item.id)) refuse(TT_ERROR_ARGUMENT, where, "the id of item ", i, " is not UTF-8");
      batch.push_back({item.id, {}});
      read_features(item, where, batch.back().features);
    }
    const Unknown unknown = add ? m.live.add(batch) : m.live.replace(batch);
    if (unknown_values) *unknown_values = static_cast<size_t>(unknown.values);
  });
}

std::vector<std::string_view> read_ids(const char* const* ids, size_t count, const char* where) {
  const Texts given(ids, count, where, "ids");
  std::vector<std::string_view> out;
  for (size_t i = 0; i < count; ++i) out.push_back(given[i]);
  return out;
}

}  // namespace
}  // namespace tt::c_api

using namespace tt::c_api;

extern "C" {

tt_status tt_embed_items(tt_session* session, const tt_item* items, size_t num_items, float* vectors,
                         size_t vectors_size) {
  const char* where = "tt_embed_items";
  return in_session(session, where, [&](Session& s) {
    const Structs<tt_item> given(items, num_items, where, "items");
    const auto d = static_cast<size_t>(s.items.width());
    check_buffer(vectors, vectors_size, num_items, s.items.width(), where);
    const tt::FeatureEncoder& encoder = s.model->bundle.item_encoder();
    const tt::ModelConfig& config = s.model->bundle.config();
    const auto width = static_cast<size_t>(config.item_features_size);
    s.item_rows.clear(), s.item_features.clear();  // of those without an id
    for (size_t i = 0; i < num_items; ++i) {
      const tt_item item = given[i];
      if (item.id) {
        if (item.num_features > 0)
          refuse(TT_ERROR_ARGUMENT, where, "the item \"", item.id, "\" has an id and also features; give the id of an ",
                 "item that is there, or leave it NULL");
        const auto row = s.items.find(item.id);
        if (!row) refuse(TT_ERROR_NOT_FOUND, where, "there is no item \"", item.id, "\"; it may have been removed");
        std::copy_n(s.items.vector(*row), d, vectors + i * d);
        continue;
      }
      if (width == 0)
        refuse(TT_ERROR_UNSUPPORTED, where, "the model has no item features; give the ids of items that are there");
      read_features(item, where, s.batch.named);
      std::erase_if(s.batch.named, [&](const tt::NamedValue& feature) {  // what only filters read
        return !encoder.find(feature.column) && s.model->bundle.category(feature.column);
      });
      s.item_rows.push_back(static_cast<int64_t>(i));
      s.item_features.resize(s.item_features.size() + width);
      encoder.encode(s.batch.named, "item", s.item_features.data() + s.item_features.size() - width);
      check_once(s.batch.named, where);
    }
    const size_t n = s.item_rows.size();
    if (n == 0) return;
    s.item_vectors.resize(n * d);
    tt::encode_items(s.model->bundle.model(), {.count = static_cast<int64_t>(n), .features = s.item_features.data()},
                     s.arena, s.tape, s.item_vectors.data());
    for (size_t i = 0; i < n; ++i)
      std::copy_n(s.item_vectors.data() + i * d, d, vectors + static_cast<size_t>(s.item_rows[i]) * d);
  });
}

tt_status tt_model_add_items(tt_model* model, const tt_item* items, size_t num_items, size_t* unknown_values) {
  return put_items(model, items, num_items, unknown_values, true, "tt_model_add_items");
}

tt_status tt_model_replace_items(tt_model* model, const tt_item* items, size_t num_items, size_t* unknown_values) {
  return put_items(model, items, num_items, unknown_values, false, "tt_model_replace_items");
}

tt_status tt_model_remove_items(tt_model* model, const char* const* ids, size_t num_ids) {
  const char* where = "tt_model_remove_items";
  return change_items(model, where, num_ids, "removed",
                      [&](Model& m) { m.live.remove(read_ids(ids, num_ids, where)); });
}

tt_status tt_model_set_available(tt_model* model, const char* const* ids, size_t num_ids, int32_t available) {
  const char* where = "tt_model_set_available";
  return change_items(model, where, num_ids, available ? "put on offer" : "taken off the offer", [&](Model& m) {
    m.live.set_available(read_ids(ids, num_ids, where), read_flag(available, where, "available"));
  });
}

tt_status tt_model_save(tt_model* model, const char* path) {
  return in_model(model, "tt_model_save", TT_ERROR_IO, [&](Model& m) {
    need(path, "tt_model_save", "path");
    const tt::Catalog items = m.live.snapshot();
    tt::save_bundle(path, m.bundle, items);
    m.tell(TT_LOG_INFO, "[bundle ", path, "] is written: ", items.size(), " items");
  });
}

}  // extern "C"
