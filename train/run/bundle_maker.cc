#include <twotower/models/retrieval/encode_items.h>
#include <twotower/train/evaluate/serving.h>
#include <twotower/train/run/bundle_maker.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace tt {
namespace {

// Columns that name an item for people, the first that is there.
constexpr const char* kTitles[] = {"title", "movie_title", "name", "item_name", "product_title"};

FeatureEncoder encoder_of(const Dataset& data, const char* side) {
  return {data.info().at(side).dump(), "dataset " + data.dir() + "/dataset.json"};
}

}  // namespace

BundleMaker::BundleMaker(const Dataset& data, const ModelConfig& model, LearntRows learnt, bool users)
    : data_(data), learnt_(std::move(learnt)) {
  content_.user_encoder = encoder_of(data, "user_features");
  content_.item_encoder = encoder_of(data, "item_features");
  content_.items.ids = data.item_ids();
  content_.items.learnt = learnt_.items.data();
  content_.items.available = data.available();
  content_.data = {data.protocol(), data.tasks(), data.actions(), rows_fingerprint(data), log_fingerprint(data)};
  read_categories();
  if (!users) return;
  collect_users(model);
  content_.users = &users_;
}

// Of each category source, whether the model reads it or not: filters and titles do.
void BundleMaker::read_categories() {
  const auto& side = data_.info().at("item_features");
  if (!side.contains("sources")) return;
  const SafetensorsFile file = SafetensorsFile::open(data_.dir() + "/items.safetensors");
  const int64_t items = data_.num_items(), width = data_.item_features_size();
  categories_.reserve(side.at("sources").size());
  for (const auto& source : side.at("sources")) {
    const auto name = source.at("name").get<std::string>();
    const auto first = source.at("first").get<int64_t>(), columns = source.at("width").get<int64_t>();
    const bool multi = source.at("kind") == "multi", codes = file.has("codes." + name);
    if (source.at("kind") == "numeric" || (multi ? columns == 0 : !codes)) continue;
    CategoryData& category = categories_.emplace_back();
    std::vector<std::string> texts;
    for (const auto& text : source.at("vocabulary")) texts.push_back(text.get<std::string>());
    category.values = OwnedIds(std::vector<std::string_view>(texts.begin(), texts.end()));
    const int32_t* code = multi ? nullptr : file.data<int32_t>("codes." + name, {items});
    for (int64_t i = 0; i < items; ++i) {
      if (!multi && code[i] >= 0) category.codes.push_back(code[i]);
      for (int64_t c = 0; multi && c < columns; ++c)
        if (data_.item_features()[i * width + first + c] > 0) category.codes.push_back(static_cast<int32_t>(c));
      category.offsets.push_back(static_cast<int64_t>(category.codes.size()));
    }
    content_.items.categories.push_back({name, category.values.table(), category.offsets.data(), category.codes.data(),
                                         items, static_cast<int64_t>(category.codes.size())});
  }
  for (const char* title : kTitles)
    for (const Category& category : content_.items.categories)
      if (content_.items.title.empty() && category.name == title) content_.items.title = title;
}

// A user's history is what the model would read of it: the newest items that training has met.
void BundleMaker::collect_users(const ModelConfig& model) {
  users_.ids = data_.user_ids();
  users_.learnt = learnt_.users.data();
  users_.features = data_.user_features();
  const UserItems seen = seen_in_all(data_);
  users_.seen_offsets = seen.offsets, users_.seen_items = seen.items;
  users_.history_offsets = {0};
  if (!model.history) return;
  const int64_t kinds = model.history_actions;
  for (int64_t u = 0; u < data_.num_users(); ++u) {
    const auto actions = data_.user_actions(u);
    std::vector<size_t> kept;  // newest first
    for (size_t a = actions.size(); a-- > 0 && static_cast<int64_t>(kept.size()) < model.user_history_seqlen;)
      if (learnt_.items[static_cast<size_t>(actions[a])] != 0) kept.push_back(a);
    std::reverse(kept.begin(), kept.end());
    for (const size_t a : kept) {
      users_.history_items.push_back(actions[a]);
      const uint8_t* flags = data_.history_actions() + (data_.history_offsets()[u] + static_cast<int64_t>(a)) * kinds;
      users_.history_actions.insert(users_.history_actions.end(), flags, flags + kinds);
    }
    users_.history_offsets.push_back(static_cast<int64_t>(users_.history_items.size()));
  }
}

void BundleMaker::write(const std::string& path, const TwoTower<float>& model, TableType tables) {
  const int64_t items = data_.num_items(), d = model.config().item_id_embedding_dim;
  vectors_.resize(static_cast<size_t>(items * d));
  encode_items(model, {items, learnt_.items.data(), data_.item_features()}, vectors_.data());
  content_.model = &model;
  content_.items.vectors = {vectors_.data(), {items, d}};
  write_bundle(path, content_, tables);
}

}  // namespace tt
