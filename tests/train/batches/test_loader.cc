// Batches: each impression once an epoch, the same whoever makes them, and nothing of the future in a
// history.

#include <doctest/doctest.h>
#include <twotower/train/batches/loader.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

namespace {

struct Fixture {
  Fixture() : data(open_written(folder, made_up_content(37, 23, 9))), model(small_config(data)) {
    train.batch_size = 50, train.prefetch = false, train.user_id_dropout = 0;
  }
  TempFolder folder;
  Dataset data;
  ModelConfig model;
  TrainConfig train;
};

template <class T>
void append(std::vector<double>& to, const Tensor<const T>& x) {
  to.push_back(static_cast<double>(x.numel()));
  for (const T v : x) to.push_back(static_cast<double>(v));
}

// Everything that a batch holds.
std::vector<double> content(const Batch<float>& b) {
  std::vector<double> all;
  append(all, b.user.id), append(all, b.user.features), append(all, b.user.history_offsets);
  append(all, b.user.history_items), append(all, b.user.history_actions);
  append(all, b.item.id), append(all, b.item.features), append(all, b.position), append(all, b.labels);
  append(all, b.value), append(all, b.queue.id);
  append(all, b.ranker_scores), append(all, b.negatives.id), append(all, b.negatives.features);
  append(all, b.candidates.log_q), append(all, b.candidates.target);
  append(all, b.candidates.exclude.offsets), append(all, b.candidates.exclude.columns);
  return all;
}

std::vector<std::vector<double>> epoch_content(Loader& loader, int64_t epoch) {
  std::vector<std::vector<double>> all;
  loader.start_epoch(epoch);
  while (const Batch<float>* batch = loader.next()) all.push_back(content(*batch));
  return all;
}

// All options that give a batch more content.
void widen(Fixture& f) {
  f.model.history = true, f.model.history_actions = 2;
  f.model.mixed_negatives = 6, f.model.negative_queue = 70;
  f.train.user_id_dropout = 0.2, f.train.item_id_dropout = 0.1;
}

}  // namespace

TEST_CASE("loader: every impression once an epoch, in batches of nearly equal size") {
  Fixture f;
  Loader loader(f.data, f.model, f.train);
  const Impressions& log = f.data.split(Split::train);
  CHECK(loader.rows() == log.size);
  CHECK(loader.batches_per_epoch() == 7);  // 333 rows by at most 50
  std::multiset<std::pair<int64_t, int32_t>> expected;
  for (int64_t i = 0; i < log.size; ++i) expected.insert({log.user[i], log.position[i]});
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::multiset<std::pair<int64_t, int32_t>> seen;
    loader.start_epoch(epoch);
    int64_t batches = 0;
    while (const Batch<float>* b = loader.next()) {
      ++batches;
      CHECK(b->size() >= 47);
      CHECK(b->size() <= 48);
      for (int64_t i = 0; i < b->size(); ++i) seen.insert({b->user.id[i], b->position[i]});
    }
    CHECK(batches == 7);
    CHECK(seen == expected);
    CHECK(loader.next() == nullptr);
  }
}

TEST_CASE("loader: a row's columns are those of its impression, its history the newest of what came before") {
  Fixture f;
  f.model.history = true, f.model.history_actions = 2, f.model.user_history_seqlen = 4;
  Loader loader(f.data, f.model, f.train);
  const Impressions& log = f.data.split(Split::train);
  std::map<std::pair<int64_t, int32_t>, int64_t> row_of;  // each user has each position once here
  for (int64_t i = 0; i < log.size; ++i) row_of[{log.user[i], log.position[i]}] = i;
  loader.start_epoch(3);
  int64_t full = 0, empty = 0;
  while (const Batch<float>* b = loader.next())
    for (int64_t i = 0; i < b->size(); ++i) {
      const int64_t user = b->user.id[i], r = row_of.at({user, b->position[i]});
      REQUIRE(b->item.id[i] == log.item[r]);
      for (int64_t t = 0; t < 2; ++t) CHECK(b->labels.row(i)[t] == log.labels[r * 2 + t]);
      CHECK(b->user.features[i] == f.data.user_features()[user]);
      CHECK(b->item.features.row(i)[1] == f.data.item_features()[log.item[r] * 2 + 1]);
      const int64_t begin = b->user.history_offsets[i], count = b->user.history_offsets[i + 1] - begin;
      const int64_t end = log.history_end[r];
      REQUIRE(count == std::min<int64_t>(end, 4));
      full += count == 4, empty += count == 0;
      for (int64_t j = 0; j < count; ++j) {
        CHECK(b->user.history_items[begin + j] == f.data.user_actions(user)[static_cast<size_t>(end - 1 - j)]);
        const int64_t action = f.data.history_offsets()[user] + end - 1 - j;
        CHECK(f.data.history_times()[action] < log.time[r]);
        for (int64_t a = 0; a < 2; ++a)
          CHECK(b->user.history_actions.row(begin + j)[a] == f.data.history_actions()[action * 2 + a]);
      }
    }
  CHECK(full > 0);
  CHECK(empty > 0);
}

TEST_CASE("loader: ids are hidden in training where something else is known of the user, and only there") {
  for (const bool history : {false, true}) {
    Fixture f;
    f.model.user_features_size = 0;
    f.model.history = history, f.train.user_id_dropout = 0.4;
    Loader loader(f.data, f.model, f.train);
    loader.start_epoch(0);
    int64_t hidden = 0;
    while (const Batch<float>* b = loader.next()) hidden += std::count(b->user.id.begin(), b->user.id.end(), -1);
    if (history)
      CHECK(hidden > loader.rows() / 4);
    else
      CHECK(hidden == 0);
  }
  Fixture f;
  f.train.user_id_dropout = 1;
  Loader loader(f.data, f.model, f.train);
  loader.start_epoch(0);
  for (const int64_t id : loader.next()->user.id) CHECK(id == -1);
  const LearntRows learnt = learnt_rows(f.data, f.model, f.train);
  CHECK(std::count(learnt.users.begin(), learnt.users.end(), 1) == 0);
  ModelConfig model = f.model;
  model.distill_towers = "points";
  CHECK(error_of([&] { Loader(f.data, model, f.train); }) ==
        "[config] train.user_id_dropout = 1 hides users' ids, by which lists know them; set it below 1");
  model = f.model, model.user_features_size = 0;
  CHECK(error_of([&] { Loader(f.data, model, f.train); }) ==
        "[config] train.user_id_dropout = 1 hides all that is known of users; give the model features or a history of "
        "them");
}

TEST_CASE("loader: the same batches with and without a prefetching thread, for a seed") {
  for (const char* log_q : {"none", "counts", "stream"}) {
    Fixture f;
    widen(f);
    f.model.log_q = log_q;
    Loader plain(f.data, f.model, f.train);
    f.train.prefetch = true;
    Loader ahead(f.data, f.model, f.train);
    f.train.seed = 2;
    Loader other(f.data, f.model, f.train);
    std::vector<std::vector<double>> before;
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      const auto batches = epoch_content(plain, epoch);
      CHECK(batches.size() == 7);
      CHECK(epoch_content(ahead, epoch) == batches);
      CHECK(epoch_content(other, epoch) != batches);
      CHECK(batches != before);
      before = batches;
    }
  }
}

TEST_CASE("loader: an epoch's batches do not depend on where training began") {
  for (const char* log_q : {"none", "counts", "stream"}) {
    INFO("log_q ", log_q);
    Fixture f;
    widen(f);
    f.model.negative_queue = 0;  // the one thing that starts anew
    f.model.log_q = log_q;
    Loader whole(f.data, f.model, f.train), resumed(f.data, f.model, f.train);
    for (int64_t epoch = 0; epoch < 2; ++epoch) epoch_content(whole, epoch);
    CHECK(epoch_content(resumed, 2) == epoch_content(whole, 2));
    CHECK(epoch_content(resumed, 3) == epoch_content(whole, 3));
  }
}

TEST_CASE("loader: an epoch may be left early") {
  for (const bool prefetch : {false, true}) {
    Fixture f;
    f.train.prefetch = prefetch;
    f.model.log_q = "counts";
    Loader loader(f.data, f.model, f.train), fresh(f.data, f.model, f.train);
    loader.start_epoch(0);
    CHECK(loader.next() != nullptr);
    CHECK(loader.next() != nullptr);
    CHECK(epoch_content(loader, 1) == epoch_content(fresh, 1));
  }
}

TEST_CASE("loader: mixed negatives are drawn evenly from the corpus, with the mixture's exact log Q") {
  Fixture f;
  f.model.mixed_negatives = 40, f.model.log_q = "counts", f.model.mask_accidental_hits = true;
  Loader loader(f.data, f.model, f.train);
  std::vector<int64_t> drawn(23, 0);
  const Impressions& log = f.data.split(Split::train);
  std::vector<double> share(23, 0);
  for (int64_t i = 0; i < log.size; ++i) share[static_cast<size_t>(log.item[i])] += 1.0 / static_cast<double>(log.size);
  for (int64_t epoch = 0; epoch < 20; ++epoch) {
    loader.start_epoch(epoch);
    while (const Batch<float>* b = loader.next()) {
      REQUIRE(b->negatives.id.numel() == 40);
      const auto rows = static_cast<double>(b->size());
      REQUIRE(b->candidates.log_q.numel() == b->size() + 40);
      for (int64_t j = 0; j < b->size() + 40; ++j) {
        const int64_t item = j < b->size() ? b->item.id[j] : b->negatives.id[j - b->size()];
        REQUIRE(item >= 0);
        REQUIRE(item < 23);
        if (j >= b->size()) ++drawn[static_cast<size_t>(item)];
        const double q = (rows - 1) * share[static_cast<size_t>(item)] + 40.0 / 23;
        CHECK(b->candidates.log_q[j] == doctest::Approx(std::log(q)).epsilon(1e-5));
      }
      for (int64_t i = 0; i < b->size(); ++i)  // no row meets its own item as a negative
        for (int64_t j = 0; j < 40; ++j) {
          if (b->negatives.id[j] != b->item.id[i]) continue;
          const auto& e = b->candidates.exclude;
          CHECK(std::count(e.columns.data() + e.offsets[i], e.columns.data() + e.offsets[i + 1],
                           static_cast<int32_t>(b->size() + j)) == 1);
        }
    }
  }
  const double expected = 20 * 7 * 40 / 23.0;  // 243 each, deviation 15
  for (const int64_t n : drawn) CHECK(std::abs(static_cast<double>(n) - expected) < 5 * std::sqrt(expected));
}

TEST_CASE("loader: what a user was shown and let pass stays a negative of the user's other rows") {
  const TempFolder folder;
  const Dataset data = open_written(folder, tiny_content());
  ModelConfig model = small_config(data);
  model.debias = "position";  // trains on all rows
  TrainConfig train;
  train.prefetch = false, train.user_id_dropout = 0;
  Loader loader(data, model, train);
  loader.start_epoch(0);
  const Batch<float>* b = loader.next();
  REQUIRE(b->size() == 8);
  const Exclusions& out = b->candidates.exclude;
  REQUIRE(b->user.id.numel() == 7);  // ann's rows at times 2 and 5 have one history
  const auto user = [&](int64_t row) { return b->user.id[b->user_of[row]]; };
  int64_t ignored = 0;
  for (int64_t i = 0; i < 8; ++i)
    for (int64_t j = 0; j < 8; ++j) {
      if (i == j) continue;
      const bool excluded = std::count(out.columns.data() + out.offsets[i], out.columns.data() + out.offsets[i + 1], j);
      bool hit = b->item.id[j] == b->item.id[i];
      for (int64_t r = 0; r < 8; ++r)
        hit |= user(r) == user(i) && b->item.id[r] == b->item.id[j] &&
               (b->labels.row(r)[0] > 0 || b->labels.row(r)[1] > 0);
      CHECK(excluded == hit);
      ignored += user(j) == user(i) && b->labels.row(j)[0] == 0 && !excluded;
    }
  CHECK(ignored == 3);  // ann let one item pass beside two others, bob one beside one
}

TEST_CASE("loader: an unknown position stays unknown") {
  const TempFolder folder;
  DatasetContent content = tiny_content();
  content.train.position[1] = content.train.position[4] = -1;
  const Dataset data = open_written(folder, content);
  ModelConfig model = small_config(data);
  model.debias = "position";
  TrainConfig train;
  train.prefetch = false;
  Loader loader(data, model, train);
  loader.start_epoch(0);
  const Batch<float>* b = loader.next();
  CHECK(std::count(b->position.begin(), b->position.end(), -1) == 2);
  CHECK(std::count(b->position.begin(), b->position.end(), 0) == 3);
}

TEST_CASE("loader: full softmax has the corpus as columns and each row's item as target") {
  Fixture f;
  f.model.full_softmax = true;
  Loader loader(f.data, f.model, f.train);
  loader.start_epoch(0);
  const Batch<float>* b = loader.next();
  REQUIRE(b->negatives.id.numel() == 23);
  for (int64_t j = 0; j < 23; ++j) CHECK(b->negatives.id[j] == j);
  for (int64_t i = 0; i < b->size(); ++i) CHECK(b->candidates.target[i] == b->item.id[i]);
  CHECK(b->candidates.log_q.numel() == 0);
}

TEST_CASE("loader: dropout zeroes its share of the elements and scales the others up, anew for each row and epoch") {
  Fixture f;
  f.model.history = true;
  f.train.dropout = 0.3;
  Loader loader(f.data, f.model, f.train);
  std::set<std::vector<float>> rows;
  double zeros = 0, count = 0;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    loader.start_epoch(epoch);
    while (const Batch<float>* b = loader.next()) {
      CHECK(b->user.id_dropout.shape() == Shape{b->size(), f.model.user_id_embedding_dim});
      CHECK(b->user.history_dropout.shape() == Shape{b->user.history_items.numel(), f.model.item_id_embedding_dim});
      for (const Tensor<const float>& x : {b->user.id_dropout, b->user.history_dropout})
        for (int64_t i = 0; i < x.rows(); ++i) {
          rows.insert(std::vector<float>(x.row(i), x.row(i) + x.cols()));
          for (int64_t j = 0; j < x.cols(); ++j) {
            CHECK((x.row(i)[j] == 0 || x.row(i)[j] == doctest::Approx(1 / 0.7)));
            zeros += x.row(i)[j] == 0, ++count;
          }
        }
    }
  }
  CHECK(std::abs(zeros / count - 0.3) < 4 * std::sqrt(0.3 * 0.7 / count));
  CHECK(rows.size() > 200);  // of the 256 that 8 columns can be
}

TEST_CASE("loader: full softmax can leave out whatever else the user acted on in training") {
  Fixture f;
  f.model.full_softmax = f.model.mask_user_positives = true;
  Loader loader(f.data, f.model, f.train);
  loader.start_epoch(0);
  const Batch<float>* b = loader.next();
  const UserItems positives = f.data.positives(Split::train);
  const Exclusions& out = b->candidates.exclude;
  REQUIRE(out.offsets.numel() == b->size() + 1);
  for (int64_t i = 0; i < b->size(); ++i) {
    const std::vector<int32_t> found(out.columns.data() + out.offsets[i], out.columns.data() + out.offsets[i + 1]);
    std::vector<int32_t> want(positives.of(b->user.id[i]).begin(), positives.of(b->user.id[i]).end());
    std::erase(want, static_cast<int32_t>(b->item.id[i]));  // the row's own: its target, which nothing may leave out
    CHECK(found == want);
  }
}

TEST_CASE("loader: rows without value are left out unless some part learns from them") {
  const TempFolder folder;
  const Dataset data = open_written(folder, tiny_content());
  ModelConfig model;
  fit_config_to_data(model, data);
  TrainConfig train;
  const auto rows = [&](const std::string& which, const std::string& debias) {
    train.rows = which, model.debias = debias;
    return Loader(data, model, train).rows();
  };
  CHECK(rows("auto", "none") == 6);
  CHECK(rows("auto", "position") == 8);
  CHECK(rows("all", "none") == 8);
  CHECK(rows("positive", "position") == 6);
  model.user_value_weights = {0, 1};  // only likes count
  CHECK(rows("positive", "none") == 3);
}

TEST_CASE("loader: a log without any value has nothing to learn from") {
  const TempFolder folder;
  DatasetContent content = tiny_content();
  std::fill(content.train.labels.begin(), content.train.labels.end(), 0.0f);
  const Dataset data = open_written(folder, content);
  ModelConfig model;
  fit_config_to_data(model, data);
  CHECK(error_of([&] { Loader(data, model, {}); }, folder.path()) ==
        "[dataset FILE/data] no training impression has a label above 0; there is nothing to learn from");
}
