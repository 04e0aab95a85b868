#include <doctest/doctest.h>
#include <twotower/train/evaluate/serving.h>

#include <algorithm>
#include <numeric>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

namespace {

// One user through the model without tiles, and all items; those that training never met have no id.
struct Plain {
  Plain(const TwoTower<float>& m, const Dataset& data) : model(m), tape(arena, false) {
    for (int64_t i = 0; i < data.num_items(); ++i) ids.push_back(data.train_counts()[i] > 0 ? i : -1);
    ItemInputs<float> items;
    items.id = {ids.data(), {data.num_items()}};
    items.features = {data.item_features(), {data.num_items(), data.item_features_size()}};
    v = model.items(tape, items).value();
  }
  TwoTower<float>::Served user(int64_t id, std::vector<float> features, std::vector<int64_t> history,
                               std::vector<uint8_t> actions = {}) {
    keep_ids.push_back(std::make_unique<std::vector<int64_t>>(
        std::initializer_list<int64_t>{id, 0, static_cast<int64_t>(history.size())}));
    const auto width = static_cast<int64_t>(features.size());
    const auto n = static_cast<int64_t>(history.size());
    held_features = std::move(features), held_history = std::move(history), held_actions = std::move(actions);
    UserInputs<float> inputs;
    inputs.id = {keep_ids.back()->data(), {1}};
    inputs.history_offsets = {keep_ids.back()->data() + 1, {2}};
    inputs.features = {held_features.data(), {1, width}};
    inputs.history_items = {held_history.data(), {n}};
    if (!held_actions.empty())
      inputs.history_actions = {held_actions.data(), {n, static_cast<int64_t>(held_actions.size()) / n}};
    return model.serve(tape, inputs);
  }
  const TwoTower<float>& model;
  Arena arena;
  Tape<float> tape;
  std::vector<int64_t> ids, held_history;
  std::vector<std::unique_ptr<std::vector<int64_t>>> keep_ids;
  std::vector<float> held_features;
  std::vector<uint8_t> held_actions;
  Tensor<float> v;
};

void check_same(const float* got, const float* expected, int64_t n) {
  for (int64_t i = 0; i < n; ++i) CHECK(got[i] == doctest::Approx(expected[i]).epsilon(1e-4));
}

}  // namespace

TEST_CASE("serving: vectors are those of the trained towers, also over many tiles") {
  const TempFolder folder;
  const Dataset data = open_written(folder, made_up_content(600, 5000, 6));
  ModelConfig config = small_config(data);
  config.history = true;
  TwoTower<float> model(config);
  ServedDataset served(model, data);
  Session session;
  Plain plain(model, data);
  CHECK(data.train_positives()[0] > 0);
  CHECK(data.train_positives()[4999] == 0);
  for (const int64_t i : {0, 1, 4095, 4096, 4999}) check_same(served.item_vectors().row(i), plain.v.row(i), 8);

  std::vector<UserMoment> users;
  for (int64_t u = 0; u < data.num_users(); ++u) users.push_back(latest_moment(data, u));
  std::vector<float> u(600 * 8);
  served.encode(session, users, u.data());
  for (const int64_t row : {0, 255, 256, 599}) {
    const auto actions = data.user_actions(row);
    std::vector<int64_t> newest;  // capacity 4
    for (size_t i = 0; i < 4; ++i) newest.push_back(actions[actions.size() - 1 - i]);
    check_same(u.data() + row * 8, plain.user(row, {data.user_features()[row]}, newest).u.value().data(), 8);
  }

  // After the model has changed, refresh() follows it.
  model.parameters().find("item_tower_arch.bias")->value.fill(3);
  Plain changed(model, data);
  served.refresh();
  check_same(served.item_vectors().row(77), changed.v.row(77), 8);
}

TEST_CASE("serving: a moment's history ends where it says; an unknown user has none") {
  const TempFolder folder;
  const Dataset data = open_written(folder, tiny_content());
  ModelConfig config = small_config(data);
  config.history = true;
  config.history_actions = data.num_actions();
  const TwoTower<float> model(config);
  ServedDataset served(model, data);
  Session session;
  Plain plain(model, data);
  const auto actions = data.user_actions(0);  // ann: i0, i1, then i3
  REQUIRE(std::vector<int32_t>(actions.begin(), actions.end()) == std::vector<int32_t>{0, 1, 3});

  std::vector<float> u(8);
  const auto flags = [&](int64_t n) {  // of the first n actions, newest first
    std::vector<uint8_t> out;
    for (int64_t a = n - 1; a >= 0; --a)
      out.insert(out.end(), data.history_actions() + a * data.num_actions(),
                 data.history_actions() + (a + 1) * data.num_actions());
    return out;
  };
  const std::vector<UserMoment> two = {{0, 2}}, none = {{0, 0}}, unknown = {{-1, 0}};
  served.encode(session, two, u.data());
  check_same(u.data(), plain.user(0, {0.5f, 1}, {1, 0}, flags(2)).u.value().data(), 8);
  served.encode(session, none, u.data());
  check_same(u.data(), plain.user(0, {0.5f, 1}, {}).u.value().data(), 8);
  served.encode(session, unknown, u.data());
  check_same(u.data(), plain.user(-1, {0, 0}, {}).u.value().data(), 8);
  TopItems top;
  served.top(session, unknown, {.k = 3}, nullptr, top);
  CHECK(top.counts[0] == 3);

  const std::vector<UserMoment> stranger = {{4, 0}}, future = {{0, 9}};
  CHECK(error_of([&] { served.top(session, stranger, {.k = 3}, nullptr, top); }) ==
        "[retrieve] user row 4 is not in 0 .. 3; -1 stands for an unknown user");
  CHECK(error_of([&] { served.top(session, future, {.k = 3}, nullptr, top); }) ==
        "[retrieve] user row 0 has 3 actions, not 9");
  CHECK(error_of([&] { served.top(session, two, {.k = 0}, nullptr, top); }) ==
        "[retrieve] k = 0; ask for at least 1 item");
}

TEST_CASE("serving: a user whom training never met is served from features and history") {
  const TempFolder folder;
  DatasetContent content = tiny_content();
  content.user_ids.push_back("eve");
  content.user_features.rows = 5;
  content.user_features.values.insert(content.user_features.values.end(), {2, 1});
  const Dataset data = open_written(folder, content);
  const TwoTower<float> model(small_config(data));
  Plain plain(model, data);
  const std::vector<UserMoment> eve = {latest_moment(data, 4)};
  std::vector<float> u(8);
  Session session;
  ServedDataset(model, data).encode(session, eve, u.data());
  check_same(u.data(), plain.user(-1, {2, 1}, {}).u.value().data(), 8);
}

TEST_CASE("serving: seen items are left out, and nothing takes their place") {
  const TempFolder folder;
  const Dataset data = open_written(folder, tiny_content());
  const TwoTower<float> model(small_config(data));
  ServedDataset served(model, data);
  Session session;
  const UserItems seen = seen_in_all(data);
  CHECK(std::vector<int32_t>(seen.of(0).begin(), seen.of(0).end()) == std::vector<int32_t>{0, 1, 2, 3, 4});
  CHECK(std::vector<int32_t>(seen.of(2).begin(), seen.of(2).end()) == std::vector<int32_t>{0, 1, 4});
  TopItems top;
  const std::vector<UserMoment> users = {latest_moment(data, 0), latest_moment(data, 2), {-1, 0}};
  served.top(session, users, {.k = 5}, &seen, top);
  CHECK(top.counts == std::vector<int64_t>{0, 2, 5});
  std::vector<int64_t> left(top.items(1).begin(), top.items(1).end());
  std::sort(left.begin(), left.end());
  CHECK(left == std::vector<int64_t>{2, 3});
}

TEST_CASE("serving: a light ranker orders the candidates by its values") {
  const TempFolder folder;
  const Dataset data = open_written(folder, made_up_content(300, 60, 5));
  ModelConfig config = small_config(data);
  config.light_ranker = true;
  config.distill = false;
  const TwoTower<float> model(config);
  ServedDataset served(model, data);
  Session session;
  std::vector<UserMoment> users;
  for (int64_t u = 0; u < data.num_users(); ++u) users.push_back(latest_moment(data, u));
  const UserItems seen = seen_in_all(data);
  TopItems top, candidates;
  served.top(session, users, {.k = 5}, &seen, top);

  std::vector<float> u(300 * 8), all(60);
  served.encode(session, users, u.data());
  Plain plain(model, data);
  for (const int64_t row : {0, 17, 256, 299}) {
    SkipRows skip;
    skip.clear();
    for (const int32_t item : seen.of(row)) skip.rows.push_back(item);
    skip.offsets.push_back(static_cast<int64_t>(skip.rows.size()));
    ExactIndex(served.item_vectors()).search({u.data() + row * 8, {1, 8}}, 12, candidates, {.skip = &skip});
    const auto one = plain.user(row, {data.user_features()[row]}, {});
    model.rank(plain.tape, one.ranker.value().data(), one.u.value().data(), plain.v, all.data());
    std::vector<int64_t> order(candidates.items(0).begin(), candidates.items(0).end());
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return all[static_cast<size_t>(a)] > all[static_cast<size_t>(b)]; });
    order.resize(5);
    CHECK(std::vector<int64_t>(top.items(row).begin(), top.items(row).end()) == order);
    std::vector<float> scores(5);
    served.recommender().score(session, served.user(users[static_cast<size_t>(row)]), order, scores.data());
    for (size_t r = 0; r < 5; ++r) {
      CHECK(top.scores(row)[r] == doctest::Approx(all[static_cast<size_t>(order[r])]).epsilon(1e-4));
      CHECK(scores[r] == doctest::Approx(top.scores(row)[r]).epsilon(1e-5));
    }
  }
}

TEST_CASE("serving: a model and a dataset that do not fit are refused") {
  const TempFolder one, two;
  const Dataset small = open_written(one, tiny_content()), large = open_written(two, made_up_content(30, 60, 5));
  const TwoTower<float> model(small_config(small));
  CHECK(error_of([&] { ServedDataset(model, large); }) ==
        "[retrieve] the model reads 2 user features, the dataset has 1; serve it on data with the columns it was "
        "trained on");
  ModelConfig config = small_config(small);
  config.user_features_size = config.item_features_size = 0;
  const TwoTower<float> bare(config);
  CHECK(error_of([&] { ServedDataset(bare, large); }) ==
        "[retrieve] the model knows 4 users, the dataset has 30; serve it on the data it was trained on, or train "
        "again");
}
