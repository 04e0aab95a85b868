// What models learn from lists, in double: the loss against its definition in plain loops (reference_list_loss.h), and
// every parameter's gradient against the numeric gradient of that definition, with a frozen anchor held fixed.

#include <doctest/doctest.h>

#include <functional>
#include <set>

#include "tests/error_of.h"
#include "tests/models/list_fixtures.h"
#include "tests/models/reference_list_loss.h"

using namespace tt;
using testing::dense_gradient;

namespace {

constexpr double kStep = 1e-5;

double value_or_zero(const Variable<double>& part) { return part ? part.item() : 0; }

// drift: how far the parameters have moved since the anchor was frozen; 0: no anchor was set.
void check_lists(const std::string& what, const ModelConfig& config, double drift = 0,
                 const std::function<void(ListBatch<double>&)>& change = {}) {
  INFO("model: ", what, ", drift ", drift);
  TwoTower<double> model(config, 5);
  const TwoTower<double> before(config, 5);
  if (drift > 0) {
    model.set_anchor();
    uint64_t stream = 0;
    for (Parameter<double>* p : model.parameters().all()) {
      const Philox random(17, ++stream);
      for (int64_t i = 0; i < p->value.numel(); ++i) p->value[i] += drift * random.normal(static_cast<uint64_t>(i));
    }
  }
  testing::TinyLists<double> lists(config);
  if (change) change(lists.batch);

  Arena arena;
  Tape<double> tape(arena);
  const ListLossOutput<double> loss = model.list_loss(tape, lists.batch);
  const Gradients<double> found = tape.backward(loss.total);
  std::vector<std::vector<double>> gradients;  // taken now: the next forward pass forgets them
  for (const Parameter<double>* p : model.parameters().all()) gradients.push_back(dense_gradient(found, *p));
  const testing::ListForward anchor = testing::forward(before, lists.batch);
  const auto reference = [&] { return reference_list_loss(model, anchor, lists.batch); };
  const testing::ReferenceListLoss expected = reference();
  const auto close = [](double x) { return doctest::Approx(x).epsilon(1e-10); };
  CHECK(loss.total.item() == close(expected.total()));
  CHECK(value_or_zero(loss.towers) == close(expected.towers));
  CHECK(value_or_zero(loss.ranker) == close(expected.ranker));
  CHECK(value_or_zero(loss.alignment) == close(expected.alignment));

  double longest = 0;
  for (size_t k = 0; k < gradients.size(); ++k) {
    Parameter<double>* p = model.parameters().all()[k];
    double worst = 0;
    std::string where;
    for (int64_t i = 0; i < p->value.numel(); ++i) {
      const double kept = p->value[i];
      p->value[i] = kept + kStep;
      const double above = reference().total();
      p->value[i] = kept - kStep;
      const double below = reference().total();
      p->value[i] = kept;
      const double numeric = (above - below) / (2 * kStep), exact = gradients[k][static_cast<size_t>(i)];
      const double error = std::abs(exact - numeric) / (1 + std::max(std::abs(exact), std::abs(numeric)));
      longest = std::max(longest, std::abs(numeric));
      if (error <= worst) continue;
      worst = error;
      where = std::to_string(i) + ": analytic " + std::to_string(exact) + ", numeric " + std::to_string(numeric);
    }
    INFO(p->name, " ", where);
    CHECK(worst < 1e-6);
  }
  CHECK(longest > 1e-3);
}

ModelConfig with(const std::function<void(ModelConfig&)>& change, const std::string& rung = "history") {
  ModelConfig c = testing::rung_config(rung);
  change(c);
  return c;
}

}  // namespace

TEST_CASE("gradcheck on lists: every rung that learns from them") {
  for (const char* rung : {"kd", "reward", "aligned"}) check_lists(rung, testing::rung_config(rung));
}

TEST_CASE("gradcheck on lists: distillation into the towers") {
  for (const char* kind : {"points", "margins", "lists"}) {
    check_lists(kind, with([&](ModelConfig& c) { c.distill_towers = kind, c.distill_towers_weight = 0.7; }));
    check_lists(std::string(kind) + ", normalized, learned temperature", with([&](ModelConfig& c) {
                  c.distill_towers = kind;
                  c.normalize = c.learn_temperature = true, c.temperature = 0.4;
                }));
    check_lists(std::string(kind) + ", scores at 0 and 1, which are held within bounds",
                with([&](ModelConfig& c) { c.distill_towers = kind; }), 0, [](ListBatch<double>& batch) {
                  double* scores = const_cast<double*>(batch.ranker_scores.data());
                  scores[0] = 0, scores[3] = 1;
                });
  }
}

TEST_CASE("gradcheck on lists: alignment, with and without a frozen anchor") {
  for (const char* kind : {"kl", "expected_reward", "dpo"})
    for (const double drift : {0.0, 0.15}) {
      check_lists(kind, with([&](ModelConfig& c) { c.alignment = kind, c.alignment_beta = 0.5; }), drift);
      check_lists(std::string(kind) + ", options", with([&](ModelConfig& c) {
                    c.alignment = kind, c.alignment_weight = 0.3, c.alignment_temperature = 0.6;
                    c.learn_temperature = true, c.temperature = 0.5;
                  }),
                  drift);
      check_lists(std::string(kind) + ", nothing drawn", with([&](ModelConfig& c) { c.alignment = kind; }), drift,
                  [](ListBatch<double>& batch) { batch.log_q = {}, batch.ranker_scores = {}; });
    }
}

TEST_CASE("gradcheck on lists: the light ranker's distillation") {
  check_lists("light ranker", with([](ModelConfig& c) {
                c.light_ranker = c.distill = true, c.kd_weight = 0.6;
                c.distill_towers = "margins", c.distill_towers_weight = 0;
              }));
  check_lists("light ranker, three user vectors, no history", with(
                                                                  [](ModelConfig& c) {
                                                                    c.light_ranker = c.distill = true;
                                                                    c.num_ranker_user_embeddings = 3;
                                                                    c.alignment = "kl";
                                                                  },
                                                                  "base"));
}

TEST_CASE("gradcheck on lists: all parts together") {
  for (const char* kind : {"kl", "expected_reward", "dpo"})
    for (const char* towers : {"points", "margins", "lists"})
      check_lists(std::string(kind) + " and " + towers, with([&](ModelConfig& c) {
                    c.light_ranker = c.distill = true;
                    c.alignment = kind, c.distill_towers = towers, c.alignment_beta = 0.7;
                    c.debias = "position+user", c.history_actions = 2, c.transformer_blocks = true;
                  }),
                  0.1);
}

TEST_CASE("lists: an entry of which the ranker said nothing takes no part in distillation") {
  const ModelConfig config = testing::rung_config("kd");
  const TwoTower<double> model(config, 5);
  const testing::TinyLists<double> lists(config);
  const auto loss = [&](const ListBatch<double>& batch) {
    Arena arena;
    Tape<double> tape(arena);
    const ListLossOutput<double> out = model.list_loss(tape, batch);
    return std::pair(out.towers.item(), out.ranker.item());
  };
  // The same lists without these entries.
  std::vector<int64_t> offsets = {0};
  std::vector<int32_t> columns;
  std::vector<double> scores;
  for (int64_t i = 0; i < lists.batch.size(); ++i) {
    for (int64_t k = lists.batch.lists.offsets[i]; k < lists.batch.lists.offsets[i + 1]; ++k) {
      const double* row = lists.batch.ranker_scores.row(k);
      if (std::isnan(row[0])) continue;
      columns.push_back(lists.batch.lists.columns[k]);
      scores.insert(scores.end(), row, row + 2);
    }
    offsets.push_back(static_cast<int64_t>(columns.size()));
  }
  const auto n = static_cast<int64_t>(columns.size());
  REQUIRE(n < lists.batch.lists.columns.numel());
  ListBatch<double> known;
  known.user = lists.batch.user, known.item = lists.batch.item;
  known.lists = {{offsets.data(), {static_cast<int64_t>(offsets.size())}}, {columns.data(), {n}}};
  known.ranker_scores = {scores.data(), {n, 2}};
  CHECK(loss(known).first == doctest::Approx(loss(lists.batch).first).epsilon(1e-12));
  CHECK(loss(known).second == doctest::Approx(loss(lists.batch).second).epsilon(1e-12));
}

TEST_CASE("lists: what a model asks for and a batch does not have is named") {
  const auto refusal = [](const ModelConfig& config, auto change) {
    testing::TinyLists<double> lists(config);
    change(lists.batch);
    return error_of([&] {
      Arena arena;
      Tape<double> tape(arena);
      TwoTower<double>(config, 5).list_loss(tape, lists.batch);
    });
  };
  CHECK(refusal(testing::rung_config("base"), [](auto&) {}) ==
        "[model] this model learns nothing from lists; set distill_towers, or alignment with reward = \"model\"");
  CHECK(refusal(testing::rung_config("kd"), [](auto& b) { b.ranker_scores = {}; }) ==
        "[distill] the lists have no \"ranker_scores\"; distillation learns from them: give them, or set "
        "distill_towers = \"none\"");
  CHECK(refusal(testing::rung_config("kd"), [](auto& b) {
          b.ranker_scores = {b.ranker_scores.data(), {b.ranker_scores.rows(), 1}};
        }) == "[model] the lists' ranker_scores have shape [19, 1]; user_value_weights ask for [19, 2]");
  CHECK(refusal(testing::rung_config("reward"), [](auto& b) { b.value = {}; }) ==
        "[alignment] the lists have 0 values for 19 entries; let a reward model fill them");
}

TEST_CASE("lists: a frozen anchor gets no gradient, nor do the values") {
  const ModelConfig config = with([](ModelConfig& c) { c.alignment = "expected_reward"; });
  TwoTower<double> model(config, 5);
  model.set_anchor();
  const testing::TinyLists<double> lists(config);
  Arena arena;
  Tape<double> tape(arena);
  const Gradients<double> gradients = tape.backward(model.list_loss(tape, lists.batch).total);
  for (const Parameter<double>* p : model.anchor_parameters()->all()) CHECK(!gradients.of(*p));
}

TEST_CASE("rows that share a user have the loss and the gradients of rows with one each") {
  for (const char* rung : {"aligned", "debias", "light", "reward"}) {
    INFO("rung ", rung);
    ModelConfig config = testing::rung_config(rung);
    if (config.alignment != "none") config.reward = "proxy", config.alignment = "dpo";
    config.mixed_negatives = 2;
    TwoTower<double> model(config, 5);
    model.set_anchor();
    testing::TinyBatch<double> tiny(config, 5);  // of five users
    // Rows 0 to 4 of users 0, 0, 1, 2, 2: named by user_of, and written out.
    const std::vector<int64_t> user_of = {0, 0, 1, 2, 2};
    const UserInputs<double>& from = tiny.batch.user;
    std::vector<int64_t> id, offsets = {0}, items;
    std::vector<double> features;
    for (const int64_t u : user_of) {
      id.push_back(from.id[u]);
      features.insert(features.end(), from.features.row(u), from.features.row(u) + from.features.cols());
      for (int64_t k = from.history_offsets[u]; k < from.history_offsets[u + 1]; ++k)
        items.push_back(from.history_items[k]);
      offsets.push_back(static_cast<int64_t>(items.size()));
    }
    Batch<double> shared = tiny.batch, repeated = tiny.batch;
    shared.user.id = {from.id.data(), {3}};
    shared.user.features = {from.features.data(), {3, from.features.cols()}};
    shared.user.history_offsets = {from.history_offsets.data(), {4}};
    shared.user.history_items = {from.history_items.data(), {from.history_offsets[3]}};
    shared.user_of = {user_of.data(), {5}};
    repeated.user = {};
    repeated.user.id = {id.data(), {5}};
    repeated.user.features = {features.data(), {5, from.features.cols()}};
    repeated.user.history_offsets = {offsets.data(), {6}};
    repeated.user.history_items = {items.data(), {static_cast<int64_t>(items.size())}};
    CHECK(shared.size() == 5);
    const auto run = [&](const Batch<double>& batch) {
      Arena arena;
      Tape<double> tape(arena);
      const LossOutput<double> loss = model.loss(tape, batch);
      const Gradients<double> found = tape.backward(loss.total);
      std::vector<double> all = {loss.total.item()};
      for (const Parameter<double>* p : model.parameters().all())
        for (const double x : dense_gradient(found, *p)) all.push_back(x);
      return all;
    };
    const std::vector<double> a = run(shared), b = run(repeated);
    REQUIRE(a.size() == b.size());
    double worst = 0;
    for (size_t k = 0; k < a.size(); ++k) worst = std::max(worst, std::abs(a[k] - b[k]));
    CHECK(worst < 1e-12);
  }
}
