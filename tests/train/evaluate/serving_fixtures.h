#pragma once
// A made-up dataset of any size, and a model for it.

#include <twotower/models/bundle/bundle.h>
#include <twotower/models/two_tower.h>
#include <twotower/tensor/random.h>
#include <twotower/train/run/bundle_maker.h>
#include <twotower/train/run/run.h>

#include "tests/train/fixtures.h"

namespace tt {

// Every user acts on `per_user` items in train and on three later ones in test; low item rows are more popular, the
// last row is in no split.
inline DatasetContent made_up_content(int64_t users, int64_t items, int64_t per_user) {
  DatasetContent content;
  content.source = "a test";
  content.protocol = "given split";
  content.tasks = {"click", "like"};
  const Philox random(3);
  for (int64_t u = 0; u < users; ++u) {
    content.user_ids.push_back("u" + std::to_string(u));
    content.user_features.values.push_back(static_cast<float>(random.normal(static_cast<uint64_t>(u))));
  }
  content.user_features.rows = users;
  content.user_features.columns = {"x"};
  for (int64_t i = 0; i < items; ++i) {
    content.item_ids.push_back("i" + std::to_string(i));
    content.item_features.values.push_back(static_cast<float>(random.normal(static_cast<uint64_t>(1000 + i))));
    content.item_features.values.push_back(static_cast<float>(i % 2));
  }
  content.item_features.rows = items;
  content.item_features.columns = {"y", "odd"};
  uint64_t next = 10000;
  double time = 0;
  for (InteractionColumns* split : {&content.train, &content.test})
    for (int64_t n = 0; n < (split == &content.train ? per_user : 3); ++n)
      for (int64_t u = 0; u < users; ++u) {
        const double x = random.uniform(next++);
        split->user.push_back(static_cast<int32_t>(u));
        split->item.push_back(static_cast<int32_t>(x * x * static_cast<double>(items - 1)));
        split->time.push_back(time += 1);
        split->position.push_back(static_cast<int32_t>(n));
        const float like = random.uniform(next++) < 0.3 ? 1.0f : 0.0f;
        split->labels.insert(split->labels.end(), {1, like});
      }
  return content;
}

// Writes the dataset and opens it again.
inline Dataset open_written(const TempFolder& folder, const DatasetContent& content) {
  write_dataset(folder.path() + "/data", content);
  return Dataset::open(folder.path() + "/data");
}

inline ModelConfig small_config(const Dataset& data) {
  ModelConfig config;
  config.user_id_embedding_dim = config.item_id_embedding_dim = 8;
  config.hidden_size = 16;
  config.embedding_init = 1;
  config.attention_heads = 2;
  config.attention_layers = 2;
  config.user_history_seqlen = 4;
  config.num_mips_items = 12;
  config.num_ranker_user_embeddings = 2;
  fit_config_to_data(config, data);
  return config;
}

// The bundle of a model in memory.
inline Bundle bundle_of(const TempFolder& folder, const TwoTower<float>& model, const Dataset& data,
                        bool users = true) {
  const std::string path = folder.path() + "/bundle.safetensors";
  BundleMaker(data, model.config(), learnt_rows(data, model.config(), TrainConfig()), users).write(path, model);
  return Bundle::open(path);
}

}  // namespace tt
