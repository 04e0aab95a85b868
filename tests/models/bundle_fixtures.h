#pragma once
// A bundle made by hand, without any dataset: a model of some rung, ids, histories and categories.

#include <twotower/models/bundle/writer.h>
#include <twotower/models/retrieval/encode_items.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/models/fixtures.h"
#include "tests/train/fixtures.h"

namespace tt::testing {

inline constexpr const char* kUserColumns =
    R"({"columns": ["age", "town=x", "town=y"], "sources": [
        {"name": "age", "kind": "numeric", "first": 0, "width": 1, "mean": 30.0, "stddev": 10.0},
        {"name": "town", "kind": "categorical", "first": 1, "width": 2, "vocabulary": ["x", "y"]},
        {"name": "zip", "kind": "categorical", "first": 3, "width": 0, "left_out": "many", "vocabulary": ["1", "2"]}]})";
inline constexpr const char* kItemColumns =
    R"({"columns": ["year", "old"], "sources": [
        {"name": "year", "kind": "numeric", "first": 0, "width": 1, "mean": 2000.0, "stddev": 5.0},
        {"name": "old", "kind": "numeric", "first": 1, "width": 1, "mean": 0.0, "stddev": 1.0}]})";

// tiny_config()'s widths: 3 user features, 2 item features. Items i0, i1, ...: the last one is not learnt, odd ones are
// of genre "b". User u has acted on u % items, ... and was shown these and the next one; the last user is not learnt.
class HandMade {
 public:
  HandMade(const ModelConfig& config, int64_t users, int64_t items, uint64_t seed = 7) : model(config, seed) {
    std::vector<std::string> names;
    for (int64_t i = 0; i < items; ++i) names.push_back("i" + std::to_string(i));
    item_ids_ = owned(names);
    names.clear();
    for (int64_t u = 0; u < users; ++u) names.push_back("u" + std::to_string(u));
    user_ids_ = owned(names);
    genres_ = owned({"b", "a", "ö"});
    titles_ = owned({"The one", "The other"});
    const Philox random(11);
    for (int64_t i = 0; i < 2 * items; ++i)
      item_features.push_back(static_cast<float>(random.normal(static_cast<uint64_t>(i))));
    for (int64_t i = 0; i < 3 * users; ++i)
      user_features.push_back(static_cast<float>(random.normal(static_cast<uint64_t>(100000 + i))));
    learnt_items.assign(static_cast<size_t>(items), 1), learnt_items.back() = 0;
    learnt_users.assign(static_cast<size_t>(users), 1), learnt_users.back() = 0;
    for (int64_t i = 0; i < items; ++i) {
      genre_codes_.push_back(i % 2 == 0 ? 1 : 0);
      genre_offsets_.push_back(i + 1);
      if (i < 2) title_codes_.push_back(static_cast<int32_t>(i));
      title_offsets_.push_back(static_cast<int64_t>(title_codes_.size()));
    }
    vectors_.resize(static_cast<size_t>(items * config.item_id_embedding_dim));

    content.model = &model;
    content.user_encoder = FeatureEncoder(kUserColumns, "test");
    content.item_encoder = FeatureEncoder(kItemColumns, "test");
    content.items.ids = item_ids_.table();
    content.items.learnt = learnt_items.data();
    content.items.categories = {{"genre", genres_.table(), genre_offsets_.data(), genre_codes_.data(), items, items},
                                {"title", titles_.table(), title_offsets_.data(), title_codes_.data(), items,
                                 static_cast<int64_t>(title_codes_.size())}};
    content.items.title = "title";
    content.data = {"given split", {"click", "like"}, {"click"}, "rows", "log"};
    users_.ids = user_ids_.table();
    users_.learnt = learnt_users.data(), users_.features = user_features.data();
    users_.history_offsets = users_.seen_offsets = {0};
    for (int64_t u = 0; u < users; ++u) {
      std::vector<int32_t> seen;
      for (int64_t n = 0; n < u % 5; ++n) {
        const auto item = static_cast<int32_t>((u + n) % items);
        users_.history_items.push_back(item);
        for (int64_t a = 0; a < config.history_actions; ++a) users_.history_actions.push_back((u + n + a) % 2 == 0);
        seen.push_back(item);
      }
      seen.push_back(static_cast<int32_t>((u + u % 5) % items));
      std::sort(seen.begin(), seen.end());
      users_.seen_items.insert(users_.seen_items.end(), seen.begin(), std::unique(seen.begin(), seen.end()));
      users_.history_offsets.push_back(static_cast<int64_t>(users_.history_items.size()));
      users_.seen_offsets.push_back(static_cast<int64_t>(users_.seen_items.size()));
    }
    content.users = &users_;
  }
  HandMade(const HandMade&) = delete;
  HandMade& operator=(const HandMade&) = delete;

  std::string write(const TempFolder& folder, const std::string& name = "bundle.safetensors") {
    encode_items(model, {content.items.ids.size(), learnt_items.data(), item_features.data()}, vectors_.data());
    content.items.vectors = {vectors_.data(), {content.items.ids.size(), model.config().item_id_embedding_dim}};
    const std::string path = folder.path() + "/" + name;
    write_bundle(path, content);
    return path;
  }

  TwoTower<float> model;
  BundleContent content;
  std::vector<float> item_features, user_features;
  std::vector<uint8_t> learnt_items, learnt_users;

 private:
  static OwnedIds owned(const std::vector<std::string>& names) {
    return OwnedIds(std::vector<std::string_view>(names.begin(), names.end()));
  }
  OwnedIds item_ids_, user_ids_, genres_, titles_;
  std::vector<int64_t> genre_offsets_{0}, title_offsets_{0};
  std::vector<int32_t> genre_codes_, title_codes_;
  std::vector<float> vectors_;
  BundleUsers users_;
};

}  // namespace tt::testing
