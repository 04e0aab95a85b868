// The two questions that a row of a log answers, and that each part asks the right one.

#include <doctest/doctest.h>
#include <twotower/train/batches/loader.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/data/positives.h>
#include <twotower/train/evaluate/serving.h>

#include <algorithm>

#include "tests/train/fixtures.h"

using namespace tt;

TEST_CASE("positives: acted on, and of value") {
  const std::vector<double> weights = {0, 2};
  const float nothing[] = {0, 0}, worthless[] = {1, 0}, both[] = {0.5f, 0.25f};
  CHECK_FALSE(acted_on(nothing, 2));
  CHECK(acted_on(worthless, 2));
  CHECK(net_user_value(both, weights) == 0.5);
  CHECK_FALSE(has_value(nothing, weights));
  CHECK_FALSE(has_value(worthless, weights));
  CHECK(has_value(both, weights));
}

// A click that weighs nothing is history and popularity, but trains nothing; and what it alone met stays unlearnt.
TEST_CASE("positives: each part asks the right question") {
  TempFolder folder;
  write_dataset(folder.path() + "/d", tiny_content());
  const Dataset data = Dataset::open(folder.path() + "/d");
  ModelConfig config;
  config.user_value_weights = {0, 1};  // likes: 3 rows, of the users 0, 2 and 3, on the items 1, 4 and 1
  config.user_id_hash_size = 4, config.item_id_hash_size = 5;
  config.user_id_embedding_dim = config.item_id_embedding_dim = 8;
  config.user_features_size = config.item_features_size = 0;
  config.history = false;
  BatchOptions train;
  train.prefetch = false;
  CHECK(Loader(data, config, train).rows() == 3);
  CHECK(data.user_actions(1).size() == 2);  // clicked 3 in train, 4 in valid
  CHECK(data.train_positives()[3] == 1);    // clicked, never liked
  CHECK(data.positives(Split::test).of(2).size() == 1);

  ModelConfig other = config;  // would read labels that are not there
  other.user_value_weights = {0, 1, 1};
  CHECK(error_of([&] { Loader(data, other, train); }, data.dir()) ==
        "[dataset FILE] it has 2 labels, model.user_value_weights 3 weights; give one a label");
  const TwoTower<float> stranger(other);
  CHECK(error_of([&] { ServedDataset(stranger, data); }, data.dir()) ==
        "[dataset FILE] it has 2 labels, model.user_value_weights 3 weights; give one a label");
  CHECK(error_of([&] { ServedDataset(stranger, data, LearntRows()); }) ==
        "[retrieve] the model weighs 3 labels, the dataset has 2; serve it on the data it was trained on");

  const TwoTower<float> model(config);
  const ServedDataset served(model, data);
  // Without features, all that goes without an id looks alike: the items 0, 2 and 3, which no like has met, do.
  const auto same = [&](int64_t a, int64_t b) {
    const Tensor<const float> v = served.item_vectors();
    return std::equal(v.row(a), v.row(a) + v.cols(), v.row(b));
  };
  CHECK(same(0, 2));
  CHECK(same(0, 3));
  CHECK_FALSE(same(0, 1));
  CHECK_FALSE(same(0, 4));
}
