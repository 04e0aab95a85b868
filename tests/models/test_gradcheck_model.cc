// Whole models in double: the loss against its definition in plain loops, and every parameter's gradient
// against the numeric gradient of that definition, with what is constant by design held fixed (see
// reference_loss.h).

#include <doctest/doctest.h>
#include <twotower/autograd/gradcheck.h>

#include <functional>
#include <set>

#include "tests/models/fixtures.h"
#include "tests/models/reference_loss.h"

using namespace tt;
using testing::dense_gradient;
using testing::reference_loss;

namespace {

constexpr double kStep = 1e-5;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

double value_or_zero(const Variable<double>& part) { return part ? part.item() : 0; }

double largest(const std::vector<double>& g) {
  double top = 0;
  for (const double x : g) top = std::max(top, std::abs(x));
  return top;
}

// drift: how far the parameters have moved since the anchor was frozen; 0: no anchor was set. unknown: rows from this
// one on have no position.
void check_model(const std::string& what, const ModelConfig& config, double drift = 0, int64_t unknown = 5) {
  INFO("model: ", what);
  TwoTower<double> model(config, 5), frozen(config, 5), anchor(config, 5);
  if (drift > 0) {
    model.set_anchor();
    uint64_t stream = 0;
    for (Parameter<double>* p : model.parameters().all()) {
      const Philox random(17, ++stream);
      for (int64_t i = 0; i < p->value.numel(); ++i) p->value[i] += drift * random.normal(static_cast<uint64_t>(i));
    }
    testing::copy_parameters(model.parameters(), frozen.parameters());
  }
  testing::TinyBatch<double> tiny(config);
  for (int64_t i = unknown; i < tiny.batch.size(); ++i) tiny.forget_position(i);

  Arena arena;
  Tape<double> tape(arena);
  const LossOutput<double> loss = model.loss(tape, tiny.batch);
  const Gradients<double> found = tape.backward(loss.total);
  const testing::Forward f0 = testing::forward(frozen, tiny.batch), f_anchor = testing::forward(anchor, tiny.batch);
  const auto reference = [&] { return reference_loss(model, frozen, f0, f_anchor, tiny.batch); };
  std::vector<std::vector<double>> gradients;  // taken now: the next forward pass forgets them
  for (const Parameter<double>* p : model.parameters().all()) gradients.push_back(dense_gradient(found, *p));
  const testing::ReferenceLoss expected = reference();
  const auto close = [](double x) { return doctest::Approx(x).epsilon(1e-10); };
  CHECK(loss.total.item() == close(expected.total()));
  CHECK(value_or_zero(loss.retrieval) == close(expected.retrieval));
  CHECK(value_or_zero(loss.debias) == close(expected.debias));
  CHECK(value_or_zero(loss.ranker) == close(expected.ranker));
  CHECK(value_or_zero(loss.distillation) == close(expected.distillation));
  CHECK(value_or_zero(loss.proxy) == close(expected.proxy));
  CHECK(value_or_zero(loss.alignment) == close(expected.alignment));

  for (size_t k = 0; k < gradients.size(); ++k) {
    Parameter<double>* p = model.parameters().all()[k];
    const std::vector<double>& analytic = gradients[k];
    double worst = 0, steepest = 0;
    std::string where;
    for (int64_t i = 0; i < p->value.numel(); ++i) {
      const double kept = p->value[i];
      p->value[i] = kept + kStep;
      const double above = reference().total();
      p->value[i] = kept - kStep;
      const double below = reference().total();
      p->value[i] = kept;
      const double numeric = (above - below) / (2 * kStep), exact = analytic[static_cast<size_t>(i)];
      const double error = std::abs(exact - numeric) / (1 + std::max(std::abs(exact), std::abs(numeric)));
      steepest = std::max(steepest, std::abs(numeric));
      if (!(error <= worst)) {
        worst = error;
        where =
            "[" + std::to_string(i) + "]: analytic " + std::to_string(exact) + ", numeric " + std::to_string(numeric);
      }
    }
    INFO(p->name, where);
    CHECK(worst < 2e-7);
    // Nothing is left out: each parameter has a gradient, but for what adds one vector to all items: softmax
    // does not see that.
    const bool flat = steepest < 1e-8;
    if (flat)
      CHECK((p->name == "item_tower_arch.bias" || p->name == "item_features_arch.2.bias" ||
             (unknown == 0 && p->name == "position_bias_net_user_value.weight")));
    else
      CHECK(largest(analytic) > 0);
  }
}

ModelConfig with(const std::function<void(ModelConfig&)>& change, const std::string& rung = "base") {
  ModelConfig c = testing::rung_config(rung);
  change(c);
  return c;
}

// All parts at once.
ModelConfig everything(const std::string& alignment) {
  return with(
      [&](ModelConfig& c) {
        c.distill = c.light_ranker = true, c.kd_weight = 0.7;
        c.alignment = alignment, c.reward = "proxy", c.alignment_weight = 0.4, c.alignment_temperature = 1.5,
        c.alignment_beta = 0.6;
        c.normalize = c.learn_temperature = true, c.temperature = 0.4;
        c.history_actions = 3, c.transformer_blocks = true, c.attention_layers = 1;
        c.mixed_negatives = 2;
      },
      "debias");
}

}  // namespace

TEST_CASE("gradcheck of every rung, by the default rules and the reference's") {
  for (const std::string& rung : rung_names())
    for (const char* compat : {"default", "reference"})
      check_model(rung + ", compat " + compat, testing::rung_config(rung, compat));
}

TEST_CASE("gradcheck of the scores' options: length, temperature, dense features") {
  check_model("normalized", with([](ModelConfig& c) { c.normalize = true; }));
  check_model("normalized, fixed temperature", with([](ModelConfig& c) { c.normalize = true, c.temperature = 0.3; }));
  check_model("learned temperature", with([](ModelConfig& c) { c.learn_temperature = true, c.temperature = 0.6; }));
  check_model("normalized, learned temperature",
              with([](ModelConfig& c) { c.normalize = c.learn_temperature = true, c.temperature = 0.3; }));
  for (const char* rung : {"history", "kd"})
    check_model("towers without heads", with(
                                            [](ModelConfig& c) {
                                              c.tower_head = "sum";
                                              c.user_id_embedding_dim = c.item_id_embedding_dim;
                                            },
                                            rung));
  check_model("no features", with([](ModelConfig& c) { c.user_features_size = c.item_features_size = 0; }, "history"));
}

TEST_CASE("gradcheck of the history encoder's options") {
  check_model("history actions", with([](ModelConfig& c) { c.history_actions = 3; }, "history"));
  check_model("transformer blocks", with([](ModelConfig& c) { c.transformer_blocks = true; }, "history"));
  check_model("transformer blocks, actions, one layer",
              with([](ModelConfig& c) { c.transformer_blocks = true, c.history_actions = 2, c.attention_layers = 1; },
                   "history"));
  check_model("doubled exponents", with([](ModelConfig& c) { c.positional_encoding = "doubled"; }, "history"));
  check_model("one layer, one head",
              with([](ModelConfig& c) { c.attention_layers = c.attention_heads = 1; }, "history"));
  check_model("three layers, four heads",
              with([](ModelConfig& c) { c.attention_layers = 3, c.attention_heads = 4; }, "history"));
  check_model("no layers", with([](ModelConfig& c) { c.attention_layers = 0; }, "history"));
  check_model("capacity of one", with([](ModelConfig& c) { c.user_history_seqlen = 1; }, "history"));
}

TEST_CASE("gradcheck of the negatives' options and their correction") {
  for (const bool mask : {false, true})
    for (const char* log_q : {"none", "counts"})
      for (const bool correct : {false, true}) {
        if (!mask && !correct && log_q != std::string("none")) continue;  // refused
        check_model(
            "mask " + std::to_string(mask) + ", log_q " + log_q + ", positive corrected " + std::to_string(correct),
            with([&](ModelConfig& c) {
              c.mask_accidental_hits = mask, c.log_q = log_q, c.log_q_correct_positive = correct;
            }));
      }
  check_model("mixed negatives", with([](ModelConfig& c) { c.mixed_negatives = 3; }));
  check_model("queue", with([](ModelConfig& c) { c.negative_queue = 3; }));
  check_model("mixed negatives and queue", with([](ModelConfig& c) { c.mixed_negatives = 2, c.negative_queue = 2; }));
  check_model("hard negatives", with([](ModelConfig& c) { c.hard_negatives = 2; }));
  check_model("more hard negatives than there are", with([](ModelConfig& c) { c.hard_negatives = 50; }));
  check_model("hard, mixed, queue, no mask", with([](ModelConfig& c) {
                c.hard_negatives = 3, c.mixed_negatives = 2, c.negative_queue = 2, c.mask_accidental_hits = false,
                c.log_q_correct_positive = true;
              }));
  check_model("full softmax", with([](ModelConfig& c) { c.full_softmax = true; }));
  check_model("full softmax, hard negatives",
              with([](ModelConfig& c) { c.full_softmax = true, c.hard_negatives = 4; }));
}

TEST_CASE("gradcheck of debiasing: what is constant, and how errors are put together") {
  for (const char* kind : {"position", "user", "position+user"})
    for (const bool gradient : {false, true})
      for (const char* reduction : {"mean", "sum"})
        check_model(
            std::string(kind) + ", gradient " + std::to_string(gradient) + ", " + reduction, with([&](ModelConfig& c) {
              c.debias = kind, c.debias_gradient = gradient, c.debias_reduction = reduction, c.position_init = "normal";
            }));
}

TEST_CASE("gradcheck of debiasing: rows without a position, some or all") {
  for (const int64_t unknown : {0, 2, 4})
    for (const char* kind : {"position", "position+user"})
      for (const char* compat : {"default", "reference"})
        check_model(std::string(kind) + ", unknown from row " + std::to_string(unknown), with([&](ModelConfig& c) {
                      c.compat = compat;
                      c.apply_compat();
                      c.embedding_init = 0.7;
                      c.debias = kind, c.light_ranker = true, c.position_init = "normal";
                    }),
                    0, unknown);
}

TEST_CASE("gradcheck of debiasing: weights at the cap") {
  for (const char* kind : {"position", "position+user"})
    for (const bool gradient : {false, true})
      check_model(std::string(kind) + ", capped, gradient " + std::to_string(gradient), with([&](ModelConfig& c) {
                    c.debias = kind, c.debias_gradient = gradient, c.position_init = "normal", c.debias_cap = 1.5;
                  }));
}

TEST_CASE("gradcheck of the light ranker and distillation") {
  check_model("light", with([](ModelConfig& c) { c.light_ranker = true; }));
  check_model("light, one user vector",
              with([](ModelConfig& c) { c.light_ranker = true, c.num_ranker_user_embeddings = 1; }));
  check_model("distilled",
              with([](ModelConfig& c) { c.light_ranker = c.distill = true, c.kd_weight = 0.3; }, "history"));
  for (const bool examination : {false, true})
    check_model(
        "light, proxy and an examination curve, known " + std::to_string(examination), with([&](ModelConfig& c) {
          c.light_ranker = true, c.debias = "position", c.position_init = "normal", c.ranker_examination = examination;
          c.alignment = "kl", c.reward = "proxy";
        }));
  check_model("light on full softmax", with([](ModelConfig& c) { c.light_ranker = c.full_softmax = true; }));
}

TEST_CASE("gradcheck of alignment, alone and with an anchor that is a copy of itself or an earlier one") {
  for (const char* kind : {"kl", "expected_reward", "dpo"})
    for (const double drift : {0.0, 0.1}) {
      INFO("drift ", drift);
      check_model(kind, with([&](ModelConfig& c) { c.alignment = kind, c.reward = "proxy", c.alignment_beta = 0.5; }),
                  drift);
      check_model(std::string(kind) + ", options", with([&](ModelConfig& c) {
                    c.alignment = kind, c.reward = "proxy", c.alignment_weight = 0.3, c.alignment_temperature = 2,
                    c.alignment_fit_ranker = false;
                    c.learn_temperature = true, c.temperature = 0.5, c.mixed_negatives = 2, c.negative_queue = 1;
                  }),
                  drift);
      check_model(std::string(kind) + ", full softmax",
                  with([&](ModelConfig& c) { c.alignment = kind, c.reward = "proxy", c.full_softmax = true; }), drift);
    }
}

TEST_CASE("gradcheck of everything together") {
  for (const char* kind : {"kl", "expected_reward", "dpo"})
    for (const double drift : {0.0, 0.1}) {
      INFO("drift ", drift);
      check_model(std::string("everything, ") + kind, everything(kind), drift);
    }
}

// Where nothing is constant by design the plain gradcheck holds as well: upstream gradients that are not one,
// a model evaluated twice on one tape, gradients that are there already.
TEST_CASE("gradcheck on one tape twice") {
  std::vector<ModelConfig> configs;
  for (const char* rung : {"base", "history"}) configs.push_back(testing::rung_config(rung));
  for (const char* rung : {"position", "user", "debias", "light", "kd"})
    configs.push_back(testing::rung_config(rung, "reference"));
  for (ModelConfig& config : configs) {
    INFO("debias ", config.debias, ", light ", config.light_ranker);
    const TwoTower<double> model(config, 5);
    const testing::TinyBatch<double> tiny(config);
    const GradcheckReport report =
        gradcheck(model.parameters().all(), [&](Tape<double>& tape) { return model.loss(tape, tiny.batch).total; });
    INFO(report.where);
    CHECK(report.worst < 2e-7);
  }
}

TEST_CASE("each part of the loss reaches the parameters it should, and no others") {
  const ModelConfig config = everything("kl");
  const TwoTower<double> model(config, 5);
  const testing::TinyBatch<double> tiny(config);
  const auto reached = [&](auto part) {
    Arena arena;
    Tape<double> tape(arena);
    const LossOutput<double> loss = model.loss(tape, tiny.batch);
    const Gradients<double> gradients = tape.backward(part(loss));
    std::set<std::string> names;
    for (const Parameter<double>* p : model.parameters().all())
      if (largest(dense_gradient(gradients, *p)) > 0) names.insert(p->name);
    return names;
  };
  std::set<std::string> towers;
  for (const Parameter<double>* p : model.parameters().all())
    if (!contains(p->name, "debias") && !contains(p->name, "bias_net") && !contains(p->name, "ranker"))
      towers.insert(p->name);
  std::set<std::string> all;
  for (const Parameter<double>* p : model.parameters().all()) all.insert(p->name);
  std::set<std::string> with_ranker = towers;
  for (const char* name :
       {"ranker_user_tower.weight", "ranker_user_tower.bias", "light_ranker.weight", "light_ranker.bias"})
    with_ranker.insert(name);
  with_ranker.erase("log_temperature");  // the match m = u.v is not divided by it

  using Loss = LossOutput<double>;
  CHECK(reached([](const Loss& l) { return l.total; }) == all);
  CHECK(reached([](const Loss& l) { return l.retrieval; }) == towers);
  CHECK(reached([](const Loss& l) { return l.alignment; }) == towers);
  CHECK(reached([](const Loss& l) { return l.debias; }) == std::set<std::string>{"position_bias_net_user_value.weight",
                                                                                 "user_debias_net_user_value.0.weight",
                                                                                 "user_debias_net_user_value.0.bias"});
  CHECK(reached([](const Loss& l) { return l.proxy; }) ==
        std::set<std::string>{"simple_ranker.weight", "simple_ranker.bias"});
  CHECK(reached([](const Loss& l) { return l.ranker; }) == with_ranker);
  CHECK(reached([](const Loss& l) { return l.distillation; }) == with_ranker);
}

TEST_CASE("the alignment move can be left out while its proxy learns on") {
  const ModelConfig config = everything("kl");
  const TwoTower<double> model(config, 5);
  const testing::TinyBatch<double> tiny(config);
  Arena arena;
  Tape<double> tape(arena);
  const LossOutput<double> loss = model.loss(tape, tiny.batch, /*alignment_on=*/false);
  CHECK(!loss.alignment);
  CHECK(loss.proxy);
}

TEST_CASE("an anchor's parameters are frozen and not among the model's") {
  TwoTower<double> model(everything("dpo"), 5);
  const size_t before = model.parameters().all().size();
  CHECK(!model.has_anchor());
  model.set_anchor();
  CHECK(model.parameters().all().size() == before);
  const ModelConfig& config = model.config();
  const testing::TinyBatch<double> tiny(config);
  Arena arena;
  Tape<double> tape(arena);
  const Gradients<double> gradients = tape.backward(model.loss(tape, tiny.batch).total);
  for (const Parameter<double>* p : model.anchor_parameters()->all()) {
    CHECK(!gradients.of(*p));
    CHECK(p->name.substr(0, 7) == "anchor.");
  }
}
