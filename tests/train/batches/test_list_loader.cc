// Lists: what is on them, as of which moment, and how the drawn items are drawn.

#include <doctest/doctest.h>
#include <twotower/models/retrieval/catalog.h>
#include <twotower/train/batches/list_loader.h>
#include <twotower/train/batches/loader.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

namespace {

struct Fixture {
  // valid: whether there is a validation split, of the same times as train.
  explicit Fixture(int64_t users = 13, int64_t items = 31, int64_t per_user = 7, bool valid = false) {
    DatasetContent content = made_up_content(users, items, per_user);
    if (valid) content.valid = content.train;
    const Philox random(5);
    for (InteractionColumns* split : {&content.train, &content.valid, &content.test})
      for (size_t k = 0; k < split->labels.size(); ++k)
        split->ranker_scores.push_back(static_cast<float>(random.uniform(k)));
    data.emplace(open_written(folder, content));
    model = small_config(*data);
    model.history = true, model.user_history_seqlen = 50;
  }
  ListLoader loader(const ListOptions& options, const RankerPairs& pairs = {}) const {
    return ListLoader(*data, model, options, pairs);
  }
  TempFolder folder;
  std::optional<Dataset> data;
  ModelConfig model;
};

// A copy of one row of a batch.
struct Row {
  int64_t user;
  std::vector<int64_t> items, history;
  std::vector<float> scores, labels, log_q;  // of task 0
  bool operator==(const Row&) const = default;
};

std::vector<Row> rows_of(const ListBatch<float>& b) {
  std::vector<Row> rows;
  for (int64_t i = 0; i < b.size(); ++i) {
    Row row{b.user.id[i], {}, {}, {}, {}, {}};
    for (int64_t k = b.lists.offsets[i]; k < b.lists.offsets[i + 1]; ++k) {
      row.items.push_back(b.item.id[b.lists.columns[k]]);
      // NaN would not equal itself
      row.scores.push_back(b.ranker_scores && !std::isnan(b.ranker_scores.row(k)[0]) ? b.ranker_scores.row(k)[0] : -1);
      row.labels.push_back(std::isnan(b.labels.row(k)[0]) ? -1 : b.labels.row(k)[0]);
      row.log_q.push_back(b.log_q.numel() > 0 ? b.log_q[k] : 0);
    }
    if (b.user.history_offsets.numel() > 0)
      row.history.assign(b.user.history_items.data() + b.user.history_offsets[i],
                         b.user.history_items.data() + b.user.history_offsets[i + 1]);
    rows.push_back(row);
  }
  return rows;
}

std::vector<Row> pass_of(ListLoader& loader, int64_t pass) {
  std::vector<Row> all;
  loader.start_pass(pass);
  while (const ListBatch<float>* batch = loader.next())
    for (const Row& row : rows_of(*batch)) all.push_back(row);
  return all;
}

}  // namespace

TEST_CASE("lists: every user's impressions are on one list, of an item that came twice the later one") {
  Fixture f;
  ListLoader loader = f.loader({.users = 5});
  CHECK(loader.rows() == 13);
  CHECK(loader.batches() == 3);
  const Impressions& log = f.data->split(Split::train);
  std::map<std::pair<int64_t, int64_t>, int64_t> last;  // user and item -> the later impression, the log being in order
  for (int64_t r = 0; r < log.size; ++r) last[{log.user[r], log.item[r]}] = r;
  REQUIRE(static_cast<int64_t>(last.size()) < log.size);  // some came twice
  for (int64_t pass = 0; pass < 2; ++pass) {
    std::set<std::pair<int64_t, int64_t>> seen;
    for (const Row& row : pass_of(loader, pass))
      for (size_t k = 0; k < row.items.size(); ++k) {
        CHECK(seen.insert({row.user, row.items[k]}).second);
        const int64_t r = last.at({row.user, row.items[k]});
        CHECK(row.scores[k] == log.ranker_scores[2 * r]);
        CHECK(row.labels[k] == log.labels[2 * r]);
        CHECK(row.log_q[k] == 0);
      }
    CHECK(seen.size() == last.size());
    CHECK(loader.next() == nullptr);
  }
}

TEST_CASE("lists: long ones are cut in time order, and a pass has one of each user, later ones more often if asked") {
  Fixture f(9, 200, 7);  // hardly an item twice
  ListLoader loader = f.loader({.impressions = 3, .recency = 0.25});
  CHECK(loader.rows() == 9 * 3);
  const Impressions& log = f.data->split(Split::train);
  std::map<int64_t, std::vector<int64_t>> of_user;
  for (int64_t r = 0; r < log.size; ++r) of_user[log.user[r]].push_back(log.item[r]);
  constexpr int64_t kPasses = 200;
  std::map<std::pair<int64_t, std::set<int64_t>>, int64_t> times;
  for (int64_t pass = 0; pass < kPasses; ++pass) {
    std::set<int64_t> users;
    for (const Row& row : pass_of(loader, pass)) {
      users.insert(row.user);
      ++times[{row.user, {row.items.begin(), row.items.end()}}];
    }
    CHECK(users.size() == of_user.size());
  }
  std::array<int64_t, 3> of_place{};  // how often the lists that are last, last but one and first of their users came
  for (const auto& [user, items] : of_user)
    for (size_t k = 0; k < 3; ++k) {  // 1, 3 and 3 of 7
      const auto begin = items.begin() + (k == 0 ? 0 : static_cast<long>(3 * k) - 2),
                 end = items.begin() + static_cast<long>(3 * k) + 1;
      const int64_t came = times[{user, {begin, end}}];
      CHECK(came > 0);
      of_place[2 - k] += came;
    }
  const double all = 1 + 0.25 + 0.0625;
  for (size_t k = 0; k < 3; ++k) {
    const double likely = std::pow(0.25, k) / all, drawn = 9 * kPasses;
    CHECK(std::abs(static_cast<double>(of_place[k]) / drawn - likely) < 4 * std::sqrt(likely * (1 - likely) / drawn));
  }
}

TEST_CASE("lists: a row is as of the moment of one of its impressions, another one in each pass") {
  Fixture f(9, 200, 7);
  ListLoader loader = f.loader({.impressions = 3});
  const Impressions& log = f.data->split(Split::train);
  std::map<std::pair<int64_t, std::vector<int64_t>>, std::set<size_t>> moments;
  for (int64_t pass = 0; pass < 12; ++pass)
    for (const Row& row : pass_of(loader, pass)) {
      std::set<size_t> own;  // lengths of the history at each of its impressions; all of it fits
      for (int64_t r = 0; r < log.size; ++r)
        if (log.user[r] == row.user && std::count(row.items.begin(), row.items.end(), log.item[r]))
          own.insert(static_cast<size_t>(log.history_end[r]));
      REQUIRE(own.count(row.history.size()) == 1);
      const auto actions = f.data->user_actions(row.user);
      for (size_t j = 0; j < row.history.size(); ++j)  // newest first, of what came before
        REQUIRE(row.history[j] == actions[row.history.size() - 1 - j]);
      moments[{row.user, row.items}].insert(row.history.size());
    }
  int64_t several = 0;
  for (const auto& [row, lengths] : moments) several += lengths.size() > 1;
  CHECK(several > 9);
}

TEST_CASE("lists: pairs that were asked about are on the user's last list, as of the end of the training log") {
  Fixture f(13, 200, 7, /*valid=*/true);
  const Impressions& log = f.data->split(Split::train);
  RankerPairs pairs;
  std::vector<int32_t> fresh;  // items that user 4 was never shown
  for (int32_t item = 0; fresh.size() < 2; ++item) {
    bool shown = false;
    for (int64_t r = 0; r < log.size; ++r) shown = shown || (log.user[r] == 4 && log.item[r] == item);
    if (!shown) fresh.push_back(item);
  }
  add_ranker_pairs(pairs, {{4, 4}, {fresh[0], fresh[1]}, {.1f, .2f, .3f, .4f}});
  ListLoader loader = f.loader({.impressions = 3}, pairs);
  CHECK(loader.rows() == 13 * 3);
  size_t acted = 0;  // in training; what the user did in the other splits is not known by then
  for (int64_t r = 0; r < log.size; ++r)
    acted += log.user[r] == 4 && (log.labels[2 * r] > 0 || log.labels[2 * r + 1] > 0);
  REQUIRE(f.data->user_actions(4).size() > acted);
  std::set<size_t> histories;
  size_t asked = 0;
  for (int64_t pass = 0; pass < 40; ++pass)
    for (const Row& row : pass_of(loader, pass)) {
      const auto at = std::find(row.items.begin(), row.items.end(), fresh[0]) - row.items.begin();
      if (row.user != 4 || at == static_cast<long>(row.items.size())) continue;
      ++asked;
      CHECK(row.items.size() == 5);
      CHECK(row.items[static_cast<size_t>(at)] == fresh[0]);
      CHECK(row.scores[static_cast<size_t>(at)] == .1f);
      CHECK(row.labels[static_cast<size_t>(at)] == -1);
      histories.insert(row.history.size());
    }
  CHECK(asked > 0);
  CHECK(asked < 40);  // the lists before are without them
  REQUIRE(!histories.empty());
  CHECK(*histories.rbegin() == acted);
}

TEST_CASE("lists: the same batches for a seed and a pass, others for another") {
  Fixture f;
  f.model.embedding_init = 1;
  const TwoTower<float> policy(f.model);
  const std::vector<uint8_t> learnt(31, 1);
  const auto pass = [&](uint64_t seed, int64_t number, bool others_first = false) {
    ListLoader loader = f.loader({.users = 4, .policy = 2, .uniform = 3, .seed = seed});
    loader.draw_from(policy, learnt);
    if (others_first) pass_of(loader, 0), pass_of(loader, 1);
    return pass_of(loader, number);
  };
  const auto rows = pass(1, 2);
  CHECK(pass(1, 2) == rows);
  CHECK(pass(1, 2, true) == rows);  // a resumed training meets what one that was never stopped does
  CHECK(pass(1, 3) != rows);
  CHECK(pass(2, 2) != rows);
}

TEST_CASE("lists: the policy's best are its true best among what is not on the list already") {
  Fixture f;
  f.model.embedding_init = 1;
  const TwoTower<float> policy(f.model);
  ListLoader loader = f.loader({.policy = 4});
  loader.draw_from(policy, std::vector<uint8_t>(31, 1));
  const Impressions& log = f.data->split(Split::train);
  for (const Row& row : pass_of(loader, 0)) {
    size_t logged = 0;
    while (logged < row.items.size() && row.labels[logged] != -1) ++logged;
    REQUIRE(row.items.size() == logged + 4);
    // As of the latest moment on the list.
    int64_t moment = 0;
    for (int64_t r = 0; r < log.size; ++r)
      if (log.user[r] == row.user) moment = std::max<int64_t>(moment, log.history_end[r]);
    Arena arena;
    Tape<float> tape(arena, /*recording=*/false);
    UserInputs<float> user;
    user.id = {&row.user, {1}};
    user.features = gather_features(f.data->user_features(), 1, &row.user, 1, arena);
    gather_histories(*f.data, f.model, &row.user, &moment, 1, arena, user);
    std::vector<int64_t> ids(31);
    for (int64_t i = 0; i < 31; ++i) ids[static_cast<size_t>(i)] = i;
    const Tensor<const float> u = policy.users(tape, user).value();
    const Tensor<const float> v = policy.items(tape, {{ids.data(), {31}}, {f.data->item_features(), {31, 2}}}).value();
    std::vector<std::pair<float, int64_t>> others;
    for (int64_t i = 0; i < 31; ++i) {
      if (std::count(row.items.begin(), row.items.begin() + static_cast<long>(logged), i)) continue;
      float score = 0;
      for (int64_t j = 0; j < u.cols(); ++j) score += u[j] * v.row(i)[j];
      others.emplace_back(-score, i);
    }
    std::sort(others.begin(), others.end());
    for (size_t k = 0; k < 4; ++k) {
      CHECK(row.items[logged + k] == others[k].second);
      CHECK(row.scores[logged + k] == -1);  // the ranker said nothing of them
      CHECK(row.log_q[logged + k] == 0);    // they are there for certain
    }
  }
}

TEST_CASE("lists: uniform draws are of what is left, none twice, and their log_q makes sums over the corpus unbiased") {
  for (const int64_t uniform : {3, 20, 100}) {  // few: by rejection; many: by selection; more than there are: all
    INFO("uniform ", uniform);
    Fixture f(5);
    const TwoTower<float> policy(f.model);
    ListLoader loader = f.loader({.policy = 2, .uniform = uniform});
    loader.draw_from(policy, std::vector<uint8_t>(31, 1));
    const auto weight = [](int64_t item) { return std::exp(std::sin(static_cast<double>(item))); };
    double whole = 0;
    for (int64_t i = 0; i < 31; ++i) whole += weight(i);
    constexpr int64_t kPasses = 600;
    double sum = 0, squares = 0, count = 0;
    std::map<int64_t, std::vector<int64_t>> drawn;  // by user, how often each item was
    for (int64_t pass = 0; pass < kPasses; ++pass)
      for (const Row& row : pass_of(loader, pass)) {
        CHECK(std::set<int64_t>(row.items.begin(), row.items.end()).size() == row.items.size());
        double estimate = 0;
        for (size_t k = 0; k < row.items.size(); ++k) {
          estimate += weight(row.items[k]) / std::exp(static_cast<double>(row.log_q[k]));
          auto& times = drawn[row.user];
          times.resize(31);
          ++times[static_cast<size_t>(row.items[k])];
        }
        if (uniform == 100) CHECK(row.items.size() == 31);
        sum += estimate, squares += estimate * estimate, ++count;
      }
    const double mean = sum / count, deviation = std::sqrt(std::max(0.0, squares / count - mean * mean) / count);
    CHECK(std::abs(mean - whole) < 4 * deviation + 1e-5 * whole);
    for (const auto& [user, times] : drawn) {
      const double left =
          static_cast<double>(std::count_if(times.begin(), times.end(), [](int64_t n) { return n < kPasses; }));
      const double p = std::min(1.0, static_cast<double>(uniform) / left);
      for (const int64_t n : times)
        if (n < kPasses)  // what is there for certain is not drawn
          CHECK(std::abs(static_cast<double>(n) - kPasses * p) < 5 * std::sqrt(kPasses * p * (1 - p)));
    }
  }
}

TEST_CASE("lists: there is nothing to learn from where there are no impressions and no pairs") {
  Fixture f;
  CHECK(error_of([&] { f.loader({.split = Split::valid}); }, f.folder.path()) ==
        "[dataset FILE/data] there is no impression in the valid split; there are no lists to learn from");
}
