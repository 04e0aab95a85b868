// The [model] table: what it takes, what it refuses, and in which words.

#include <doctest/doctest.h>
#include <twotower/train/run/config.h>

#include "tests/models/fixtures.h"
#include "tests/train/fixtures.h"

using namespace tt;

namespace {

std::string load_error(const std::string& text) {
  const TempFolder folder;
  const std::string path = folder.file("c.toml", text);
  return error_of([&] { load_model_config(path); }, path);
}

std::string model_error(const std::string& line) {
  return load_error("[model]\nuser_id_hash_size = 5\nitem_id_hash_size = 5\n" + line + "\n");
}

std::string run_error(const std::string& text) {
  const TempFolder folder;
  const std::string path = folder.file("c.toml", text);
  return error_of(
      [&] {
        RunConfig config;
        read_config_file(path, config);
        config.train.validate();
      },
      path);
}

std::string set_error(const std::string& assignment) {
  return error_of([&] {
    RunConfig config;
    set_config_key(config, assignment);
  });
}

}  // namespace

TEST_CASE("config: an unknown key names the nearest known one") {
  CHECK(model_error("temprature = 0.1") ==
        "[config FILE] unknown key \"model.temprature\"; did you mean \"model.temperature\"?");
  CHECK(model_error("light_rank = true") ==
        "[config FILE] unknown key \"model.light_rank\"; did you mean \"model.light_ranker\"?");
  CHECK(model_error("zzzzzzzzzzzzzzzz = 1") ==
        "[config FILE] unknown key \"model.zzzzzzzzzzzzzzzz\"; see docs/config.md for the known ones");
  CHECK(run_error("[train]\nlearning_rat = 0.1\n") ==
        "[config FILE] unknown key \"train.learning_rat\"; did you mean \"train.learning_rate\"?");
  CHECK(run_error("[trian]\nepochs = 1\n") ==
        "[config FILE] unknown table or key \"trian\"; the tables are [model] and [train]");
}

TEST_CASE("config: a value of the wrong type says what it must be") {
  CHECK(model_error("history = 1") == "[config FILE] key \"model.history\" is 1; it must be true or false");
  CHECK(model_error("history = \"yes\"") == "[config FILE] key \"model.history\" is 'yes'; it must be true or false");
  CHECK(model_error("num_items = 1.5") == "[config FILE] key \"model.num_items\" is 1.5; it must be a whole number");
  CHECK(model_error("temperature = \"warm\"") ==
        "[config FILE] key \"model.temperature\" is 'warm'; it must be a finite number");
  CHECK(model_error("debias = 3") == "[config FILE] key \"model.debias\" is 3; it must be a text in quotes");
  CHECK(model_error("user_value_weights = 1") ==
        "[config FILE] key \"model.user_value_weights\" is 1; it must be a list of finite numbers such as [1.0, 0.5]");
  CHECK(model_error("user_value_weights = [1, \"a\"]") ==
        "[config FILE] key \"model.user_value_weights\" is [ 1, 'a' ]; it must be a list of finite numbers such as "
        "[1.0, 0.5]");
  CHECK(model_error("temperature = 1") == "");  // a whole number is a number
}

TEST_CASE("config: a bad choice lists the good ones") {
  CHECK(model_error("debias = \"positon\"") ==
        "[config] model.debias = \"positon\"; choose one of \"none\", \"position\", \"user\", "
        "\"position+user\" (did you mean "
        "\"position\"?)");
  CHECK(model_error("compat = \"reverence\"") ==
        "[config] model.compat = \"reverence\"; choose one of \"default\", \"reference\" (did you mean "
        "\"reference\"?)");
  CHECK(model_error("alignment = \"something else\"") ==
        "[config] model.alignment = \"something else\"; choose one of \"none\", \"kl\", \"expected_reward\", "
        "\"dpo\"");
  CHECK(run_error("[train]\noptimizer = \"sgd\"\n") ==
        "[config] train.optimizer = \"sgd\"; choose one of \"adam\", \"adagrad\"");
}

TEST_CASE("config: values that no model can have") {
  CHECK(model_error("temperature = 0") == "[config] model.temperature = 0; it must be positive");
  CHECK(model_error("temperature = nan") ==
        "[config FILE] key \"model.temperature\" is nan; it must be a finite number");
  CHECK(model_error("item_id_embedding_dim = 0") == "[config] model.item_id_embedding_dim = 0; it must be at least 1");
  CHECK(model_error("user_value_weights = []") ==
        "[config] model.user_value_weights is empty; give one weight a label");
  CHECK(model_error("user_value_weights = [0.0, 0]") ==
        "[config] model.user_value_weights are all zero; at least one label must count");
  CHECK(model_error("user_value_weights = [1, -1]") ==
        "[config] model.user_value_weights holds -1; weights must not be negative");
  CHECK(model_error("history = true\nattention_heads = 5") ==
        "[config] model.attention_heads = 5 does not divide model.item_id_embedding_dim = 64; choose a "
        "divisor of it");
  CHECK(model_error("attention_heads = 5") == "");  // no history, no heads
  CHECK(model_error("distill = true") ==
        "[config] model.distill needs the light ranker, whose logits it trains; set light_ranker = true");
  CHECK(model_error("tower_head = \"sum\"\nuser_id_embedding_dim = 32") ==
        "[config] model.tower_head = \"sum\" needs user_id_embedding_dim = item_id_embedding_dim, which are 32 and "
        "64; make them equal, or set tower_head = \"linear\"");
  CHECK(model_error("mask_user_positives = true") ==
        "[config] model.mask_user_positives needs every item as a column; set full_softmax = true "
        "(mask_accidental_hits masks those of the batch)");
  CHECK(model_error("full_softmax = true\nmixed_negatives = 5") ==
        "[config] model.full_softmax has every item as a column already; set mixed_negatives = 0 and "
        "negative_queue = 0");
  CHECK(load_error("[model]\nitem_id_hash_size = 5\n") ==
        "[config] model.user_id_hash_size = 0; it must be at least 1");
  CHECK(model_error("reward = \"modle\"") ==
        "[config] model.reward = \"modle\"; choose one of \"model\", \"proxy\" (did you mean \"model\"?)");
  CHECK(
      model_error("distill_towers = \"pairs\"") ==
      "[config] model.distill_towers = \"pairs\"; choose one of \"none\", \"points\", \"margins\", \"lists\" (did you "
      "mean \"points\"?)");
  CHECK(model_error("ranker_serves = \"scores\"") ==
        "[config] model.ranker_serves = \"scores\" needs logits that are distilled from the ranker's scores; set "
        "distill = true");
  CHECK(model_error("distill_towers_weight = -1") ==
        "[config] model.distill_towers_weight = -1; it must not be negative");
  CHECK(model_error("reward_members = 0") == "[config] model.reward_members = 0; it must be 1 to 16");
  CHECK(model_error("reward_members = 17") == "[config] model.reward_members = 17; it must be 1 to 16");
  CHECK(model_error("reward_pessimism = -1") == "[config] model.reward_pessimism = -1; it must not be negative");
  CHECK(model_error("reward_labels = -1") == "[config] model.reward_labels = -1; it must not be negative");
  CHECK(model_error("alignment_temperature = -1") ==
        "[config] model.alignment_temperature = -1; it must be positive, or 0 for the usual one");
  CHECK(model_error("alignment_beta = -1") == "[config] model.alignment_beta = -1; it must not be negative");
  CHECK(model_error("alignment_beta = 0") == "");
  for (const auto& [key, least] : {std::pair{"list_users", "1"},
                                   {"list_impressions", "0"},
                                   {"list_policy", "0"},
                                   {"list_uniform", "0"},
                                   {"list_passes", "1"},
                                   {"reward_passes", "1"}}) {
    const std::string name = key;
    CHECK(run_error("[train]\n" + name + " = -1\n") ==
          "[config] train." + name + " = -1; it must be at least " + least);
  }
  CHECK(run_error("[train]\nbatch_size = 0\n") == "[config] train.batch_size = 0; it must be at least 1");
  CHECK(run_error("[train]\nlearning_rate = -1\n") == "[config] train.learning_rate = -1; it must be positive");
  CHECK(run_error("[train]\nbeta2 = 1\n") == "[config] train.beta2 = 1; it must be at least 0 and below 1");
}

TEST_CASE("config: a file that cannot be read as TOML, or is not one of ours") {
  const std::string broken = load_error("[model]\nhistory = \n");
  CHECK(broken.starts_with("[config FILE:2] "));
  CHECK(broken.find('\n') == std::string::npos);
  CHECK(load_error("") == "[config FILE] there is no [model] table; begin one with a line [model]");
  CHECK(
      error_of([] { load_model_config("/nowhere/c.toml"); }).starts_with("[config /nowhere/c.toml] cannot be read: "));
}

TEST_CASE("config: the rungs of the ladder") {
  CHECK(rung_names() ==
        std::vector<std::string>{"base", "history", "position", "user", "debias", "light", "kd", "reward", "aligned"});
  ModelConfig c;
  CHECK(error_of([&] { apply_rung(c, "lite"); }) ==
        "[config] there is no model \"lite\"; choose one of base, history, position, user, debias, light, "
        "kd, reward, aligned");
  struct Row {
    const char *name, *debias, *alignment, *distill_towers, *serves;
    bool history, light, distill;
  };
  for (const Row& r : {Row{"aligned", "position+user", "kl", "margins", "scores", true, true, true},
                       Row{"base", "none", "none", "none", "labels", false, false, false},
                       Row{"history", "none", "none", "none", "labels", true, false, false},
                       Row{"position", "position", "none", "none", "labels", true, false, false},
                       Row{"user", "user", "none", "none", "labels", true, false, false},
                       Row{"debias", "position+user", "none", "none", "labels", true, false, false},
                       Row{"light", "position+user", "none", "none", "labels", true, true, false},
                       Row{"kd", "position+user", "none", "margins", "scores", true, true, true},
                       Row{"reward", "position+user", "kl", "none", "labels", true, false, false}}) {
    INFO("rung ", r.name);
    apply_rung(c, r.name);  // on top of the one before: nothing of it may stay
    CHECK(c.debias == r.debias);
    CHECK(c.alignment == r.alignment);
    CHECK(c.history == r.history);
    CHECK(c.light_ranker == r.light);
    CHECK(c.distill == r.distill);
    CHECK(c.distill_towers == r.distill_towers);
    CHECK(c.ranker_serves == r.serves);
    CHECK(c.reward == "model");
  }
}

TEST_CASE("config: compat = \"reference\" stands for every reference rule, and single keys may differ") {
  const TempFolder folder;
  const std::string sizes = "user_id_hash_size = 5\nitem_id_hash_size = 5\n";
  const ModelConfig c =
      load_model_config(folder.file("c.toml", "[model]\nlog_q = \"counts\"\ncompat = \"reference\"\n" + sizes));
  CHECK(c.log_q == "counts");  // its own key wins, wherever it stands
  CHECK(c.embedding_init == 1);
  CHECK(c.tower_head == "linear");
  CHECK(c.positional_encoding == "doubled");
  CHECK(!c.mask_accidental_hits);
  CHECK(c.debias_gradient);
  CHECK(c.debias_reduction == "sum");
  CHECK(c.position_init == "normal");
  CHECK(c.ranker_value == "logit");
  CHECK(!c.ranker_examination);
  CHECK(!c.alignment_fit_ranker);
  CHECK(c.reward == "proxy");
  CHECK(c.alignment_weight == 1);
  CHECK(c.alignment_temperature == 1);
  ModelConfig lists;  // what the reference does not know of
  apply_rung(lists, "aligned");
  lists.compat = "reference";
  lists.apply_compat();
  CHECK(lists.distill_towers == "none");
  CHECK(lists.ranker_serves == "labels");
  CHECK(!lists.needs_lists());
  CHECK(!c.normalize);
  CHECK(c.temperature == 1);
}

TEST_CASE("config: what is written is read back the same") {
  RunConfig config;
  config.data = "some/where \"else\"", config.rung = "kd";
  config.model = testing::rung_config("kd", "reference");
  config.model.temperature = 0.1, config.model.log_q = "counts";  // differs from what compat sets
  config.model.user_value_weights = {1, 0.25, 1e-3};
  config.train.learning_rate = 3e-4, config.train.decay = "cosine", config.train.monitor = "ndcg@10";
  config.train.prefetch = false;
  const std::string text = to_toml(config);
  const TempFolder folder;
  RunConfig again;
  read_config_file(folder.file("c.toml", text), again);
  CHECK(to_toml(again) == text);
  CHECK(again.data == config.data);
  CHECK(again.rung == "kd");
  CHECK(again.model.user_value_weights == config.model.user_value_weights);
  CHECK(again.model.temperature == 0.1);
  CHECK(again.train.learning_rate == 3e-4);
  CHECK(!again.train.prefetch);
}

TEST_CASE("config: --set") {
  RunConfig config;
  set_config_key(config, "model.debias=position");  // no quotes needed
  set_config_key(config, "temperature=0.5");
  set_config_key(config, "epochs=3");
  set_config_key(config, "train.learning_rate=1e-2");
  set_config_key(config, "user_value_weights=[1, 2.5]");
  set_config_key(config, "model.normalize=true");
  CHECK(config.model.debias == "position");
  CHECK(config.model.temperature == 0.5);
  CHECK(config.train.epochs == 3);
  CHECK(config.train.learning_rate == 1e-2);
  CHECK(config.model.user_value_weights == std::vector<double>{1, 2.5});
  CHECK(config.model.normalize);
  set_config_key(config, "compat=reference");
  CHECK(config.model.debias_reduction == "sum");
  for (const auto& [written, read] : {std::pair{".005", 0.005}, {"5.", 5.0}, {"+.5", 0.5}, {"5.e-3", 0.005}}) {
    set_config_key(config, std::string("learning_rate=") + written);  // TOML itself wants digits around the point
    CHECK(config.train.learning_rate == read);
  }
  CHECK(set_error("learning_rate=.") == "[--set] key \"train.learning_rate\" is '.'; it must be a finite number");
  CHECK(set_error("learning_rate=.5x") == "[--set] key \"train.learning_rate\" is '.5x'; it must be a finite number");
  CHECK(set_error("epochs=3.") == "[--set] key \"train.epochs\" is 3.0; it must be a whole number");
  CHECK(set_error("epochs") == "[--set] \"epochs\" is not of the form key=value");
  CHECK(set_error("=3") == "[--set] \"=3\" is not of the form key=value");
  CHECK(set_error("model.epochs=3").starts_with("[--set] unknown key \"model.epochs\""));
  CHECK(set_error("train.epoch=3") == "[--set] unknown key \"train.epoch\"; did you mean \"train.epochs\"?");
  CHECK(set_error("epochs=many") == "[--set] key \"train.epochs\" is 'many'; it must be a whole number");
  CHECK(set_error("model.history=maybe") == "[--set] key \"model.history\" is 'maybe'; it must be true or false");
}
