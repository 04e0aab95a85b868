// The reward model: its loss against plain loops over what `probabilities` says, and its gradients.

#include <doctest/doctest.h>
#include <twotower/autograd/gradcheck.h>
#include <twotower/models/reward_model.h>

#include <cmath>
#include <functional>

#include "tests/models/list_fixtures.h"

using namespace tt;

namespace {

// Its parameters away from where they begin, where item_weight and the like are zero.
template <class T>
RewardModel<T> moved(const ModelConfig& config) {
  RewardModel<T> model(config, "reward0", 3);
  uint64_t stream = 0;
  for (Parameter<T>* p : model.parameters().all()) {
    const Philox random(23, ++stream);
    for (int64_t i = 0; i < p->value.numel(); ++i)
      p->value[i] += static_cast<T>(0.2 * random.normal(static_cast<uint64_t>(i)));
  }
  return model;
}

double logit_of(double p) {
  p = std::min(std::max(p, 1e-4), 1 - 1e-4);
  return std::log(p / (1 - p));
}

// What fit_loss should be, by what probabilities() says of each pair.
double expected_loss(const RewardModel<double>& model, const ListBatch<double>& batch, double label_weight) {
  Arena arena;
  Tape<double> tape(arena, /*recording=*/false);
  const Tensor<const double> users = model.users(tape, batch.user).value(),
                             items = model.items(tape, batch.item).value();
  const int64_t tasks = model.config().num_tasks();
  double total = 0;
  for (int64_t t = 0; t < tasks; ++t) {
    double squares = 0, rows = 0, unscored = 0, unscored_count = 0, scored = 0, scored_count = 0;
    for (int64_t i = 0; i < batch.size(); ++i) {
      double row = 0, count = 0;
      for (int64_t k = batch.lists.offsets[i]; k < batch.lists.offsets[i + 1]; ++k) {
        std::vector<double> p(static_cast<size_t>(tasks));
        model.probabilities(users.row(i), items.row(batch.lists.columns[k]), p.data());
        const double own = p[static_cast<size_t>(t)];
        const bool has_score = batch.ranker_scores.numel() > 0 && !std::isnan(batch.ranker_scores.row(k)[0]);
        if (has_score) row += std::pow(std::log(own / (1 - own)) - logit_of(batch.ranker_scores.row(k)[t]), 2), ++count;
        if (batch.labels.numel() == 0 || std::isnan(batch.labels.row(k)[0])) continue;
        const double label = batch.labels.row(k)[t], seen = batch.examination.numel() > 0 ? batch.examination[k] : 1;
        const double loss = -label * std::log(own) - (1 - label) * std::log(1 - seen * own);
        (has_score ? scored : unscored) += loss, ++(has_score ? scored_count : unscored_count);
      }
      if (count > 0) squares += row / count, ++rows;
    }
    if (rows > 0) total += squares / rows;
    if (unscored_count > 0) total += unscored / unscored_count;
    if (scored_count > 0) total += label_weight * scored / scored_count;
  }
  return total / static_cast<double>(tasks);
}

}  // namespace

TEST_CASE("reward model: the loss is that of the probabilities it serves, and its gradients are right") {
  using Change = std::function<void(ListBatch<double>&)>;
  const std::pair<const char*, Change> changes[] = {{"all there is", [](auto&) {}},
                                                    {"no scores: labels alone", [](auto& b) { b.ranker_scores = {}; }},
                                                    {"no labels", [](auto& b) { b.labels = {}; }},
                                                    {"no examination", [](auto& b) { b.examination = {}; }}};
  for (const char* rung : {"base", "reward"})
    for (const auto& [what, change] : changes)
      for (const double label_weight : {0.0, 0.4}) {
        INFO(rung, ", ", what, ", label weight ", label_weight);
        ModelConfig config = testing::rung_config(rung);
        config.history_actions = config.history ? 2 : 0;
        const RewardModel<double> model = moved<double>(config);
        testing::TinyLists<double> lists(config);
        change(lists.batch);
        Arena arena;
        Tape<double> tape(arena);
        const auto loss = [&](Tape<double>& on) { return model.fit_loss(on, lists.batch, label_weight); };
        CHECK(loss(tape).item() == doctest::Approx(expected_loss(model, lists.batch, label_weight)).epsilon(1e-10));
        if (label_weight == 0 && std::string(what) != "all there is") continue;
        const GradcheckReport report = gradcheck(model.parameters().all(), loss);
        INFO(report.where);
        CHECK(report.worst < 1e-6);
      }
}

TEST_CASE("reward model: tasks have views of their own, and every parameter learns") {
  const ModelConfig config = testing::rung_config("reward");
  const RewardModel<double> model = moved<double>(config);
  const testing::TinyLists<double> lists(config);
  Arena arena;
  Tape<double> tape(arena);
  const Gradients<double> gradients = tape.backward(model.fit_loss(tape, lists.batch, 0));
  for (const Parameter<double>* p : model.parameters().all()) {
    INFO(p->name);
    CHECK(p->name.starts_with("reward0."));
    double top = 0;
    for (const double x : testing::dense_gradient(gradients, *p)) top = std::max(top, std::abs(x));
    CHECK(top > 0);
  }
  Tape<double> serving(arena, /*recording=*/false);
  const Tensor<const double> users = model.users(serving, lists.batch.user).value();
  const Tensor<const double> items = model.items(serving, lists.batch.item).value();
  CHECK(users.shape() == Shape{5, model.user_width()});
  CHECK(items.shape() == Shape{config.item_id_hash_size, model.width()});
  double p[2];
  model.probabilities(users.row(0), items.row(0), p);
  CHECK(p[0] != p[1]);
}

TEST_CASE("reward model: its towers are narrow whatever the policy's are") {
  ModelConfig config = testing::rung_config("reward");
  config.tower_head = "sum", config.normalize = true, config.user_id_embedding_dim = config.item_id_embedding_dim;
  config.transformer_blocks = true;
  const RewardModel<float> model(config, "reward0", 3);
  CHECK(model.width() == 32);
  CHECK(model.config().tower_head == "linear");
  CHECK(!model.config().normalize);
  CHECK(model.config().num_tasks() == config.num_tasks());
}
