// A model's file: every bit back, and every file that is not this model's refused in one line.

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/tensor/files/safetensors.h>
#include <twotower/train/run/checkpoint.h>

#include <cstring>

#include "tests/models/fixtures.h"
#include "tests/train/fixtures.h"

using namespace tt;

namespace {

namespace fs = std::filesystem;

bool same_bits(const ParameterSet<float>& a, const ParameterSet<float>& b) {
  for (const Parameter<float>* p : a.all())
    if (std::memcmp(p->value.data(), b.find(p->name)->value.data(),
                    static_cast<size_t>(p->value.numel()) * sizeof(float)) != 0)
      return false;
  return a.all().size() == b.all().size();
}

// The message of loading the file that `write` makes into a base model.
template <class Write>
std::string load_error(Write write) {
  const TempFolder folder;
  const std::string path = folder.path() + "/model.safetensors";
  write(path);
  TwoTower<float> model(testing::rung_config("base"), 2);
  return error_of([&] { load_model(path, model); }, path);
}

size_t files_in(const std::string& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("checkpoint: every rung comes back bit for bit") {
  for (const std::string& rung : rung_names()) {
    const TempFolder folder;
    const std::string path = folder.path() + "/model.safetensors";
    const TwoTower<float> saved(testing::rung_config(rung), 1);
    save_model(path, saved);
    TwoTower<float> loaded(testing::rung_config(rung), 2);
    CHECK(!same_bits(saved.parameters(), loaded.parameters()));
    load_model(path, loaded);
    CHECK(same_bits(saved.parameters(), loaded.parameters()));
    CHECK(!loaded.has_anchor());
    CHECK(SafetensorsFile::open(path).names().size() == saved.parameters().all().size());
    save_model(folder.path() + "/again", loaded);
    CHECK(read_whole_file(path) == read_whole_file(folder.path() + "/again"));
  }
}

TEST_CASE("checkpoint: a frozen anchor comes back with it, its temperature too") {
  ModelConfig config = testing::rung_config("reward");
  config.alignment = "expected_reward", config.reward = "proxy";
  config.learn_temperature = true, config.temperature = 0.5;
  const TempFolder folder;
  const std::string path = folder.path() + "/model.safetensors";
  TwoTower<float> saved(config, 1), loaded(config, 2);
  saved.set_anchor();
  for (Parameter<float>* p : saved.parameters().all())  // trained on, away from the anchor
    for (float& x : p->value) x += 0.25f;
  save_model(path, saved);
  load_model(path, loaded);
  REQUIRE(loaded.has_anchor());
  CHECK(same_bits(saved.parameters(), loaded.parameters()));
  CHECK(same_bits(*saved.anchor_parameters(), *loaded.anchor_parameters()));
  const testing::TinyBatch<float> tiny(config);
  const auto loss = [&](const TwoTower<float>& model) {
    Arena arena;
    Tape<float> tape(arena);
    return model.loss(tape, tiny.batch).alignment.item();
  };
  CHECK(loss(loaded) == loss(saved));
}

TEST_CASE("checkpoint: a frozen anchor is no parameter of a model that stays near none") {
  ModelConfig config = testing::rung_config("reward");
  config.alignment = "dpo";
  const TempFolder folder;
  const std::string path = folder.path() + "/model.safetensors";
  TwoTower<float> saved(config);
  saved.set_anchor();
  save_model(path, saved);
  config.alignment = "kl";
  TwoTower<float> other(config);
  other.set_anchor();
  CHECK(!other.has_anchor());
  CHECK(error_of([&] { load_model(path, other); }, path) ==
        "[checkpoint FILE] parameter \"anchor.item_id_embedding_arch.weight\" is not one of the model's; the file "
        "belongs "
        "to another model config");
}

TEST_CASE("checkpoint: what is missing, left over or of another shape is named") {
  const ModelConfig base = testing::rung_config("base");
  CHECK(load_error([](const std::string&) {}) ==
        "[safetensors FILE] cannot be opened: No such file or directory; check the path");

  CHECK(load_error([&](const std::string& path) {
          SafetensorsWriter writer;
          const TwoTower<float> model(base);
          const Parameter<float>* table = model.parameters().find("item_id_embedding_arch.weight");
          writer.add(table->name, table->value.data(), {9, 4});
          writer.write(path);
        }) ==
        "[checkpoint FILE] parameter \"item_features_arch.0.weight\" is missing; the file belongs to another "
        "model config");

  CHECK(load_error(
            [&](const std::string& path) { save_model(path, TwoTower<float>(testing::rung_config("position"))); }) ==
        "[checkpoint FILE] parameter \"user_tower_arch.weight\" has shape [4, 14], the model expects [4, 6]; "
        "use the config it "
        "was trained with");

  CHECK(load_error([&](const std::string& path) {
          ModelConfig wider = base;
          wider.debias = "position";
          save_model(path, TwoTower<float>(wider));
        }) ==
        "[checkpoint FILE] parameter \"position_bias_net_user_value.weight\" is not one of the model's; the "
        "file belongs to "
        "another model config");

  CHECK(load_error([&](const std::string& path) {
          ModelConfig wider = base;
          wider.user_id_hash_size = 7;
          save_model(path, TwoTower<float>(wider));
        }) ==
        "[checkpoint FILE] parameter \"user_id_embedding_arch.weight\" has shape [7, 3], the model expects "
        "[6, 3]; use the "
        "config it was trained with");
}

TEST_CASE("checkpoint: a truncated file, a file of another type and one that is no checkpoint") {
  const ModelConfig base = testing::rung_config("base");
  const auto truncated = [&](size_t keep) {
    return load_error([&](const std::string& path) {
      save_model(path, TwoTower<float>(base));
      fs::resize_file(path, keep);
    });
  };
  for (const size_t keep : {size_t{0}, size_t{4}, size_t{100}, size_t{3000}}) {
    INFO("kept ", keep);
    const std::string message = truncated(keep);
    CHECK(message.starts_with("[safetensors FILE]"));
    CHECK(message.find('\n') == std::string::npos);
    CHECK(message.find(';') != std::string::npos);  // there is a mend
  }
  CHECK(load_error([](const std::string& path) {
          std::ofstream(path) << "not a checkpoint at all, but long enough";
        }).starts_with("[safetensors FILE]"));
  const std::string typed = load_error([&](const std::string& path) {
    SafetensorsWriter writer;
    const TwoTower<float> model(base);
    std::vector<double> wide(36, 0.0);
    for (const Parameter<float>* p : model.parameters().all()) {
      std::vector<int64_t> dims;
      for (int i = 0; i < p->value.shape().rank(); ++i) dims.push_back(p->value.shape()[i]);
      if (p->name == "item_id_embedding_arch.weight")
        writer.add(p->name, wide.data(), dims);
      else
        writer.add(p->name, p->value.data(), dims);
    }
    writer.write(path);
  });
  CHECK(typed.find("item_id_embedding_arch.weight") != std::string::npos);
  CHECK(typed.find("F64") != std::string::npos);
}

TEST_CASE("checkpoint: when the disk is full nothing is left behind, and the old file stays") {
  const TempFolder folder;
  const std::string path = folder.path() + "/model.safetensors";
  const TwoTower<float> old_model(testing::rung_config("base"), 1), new_model(testing::rung_config("base"), 2);
  save_model(path, old_model);
  const std::string before = read_whole_file(path);

  rlimit kept{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &kept) == 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, kept.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string message = error_of([&] { save_model(path, new_model); }, path);
  const std::string fresh = error_of([&] { save_model(folder.path() + "/fresh", new_model); }, folder.path());
  setrlimit(RLIMIT_FSIZE, &kept);
  signal(SIGXFSZ, handler);

  CHECK(message ==
        "[FILE] writing failed: File too large; nothing was written, the file size limit (ulimit -f) is too "
        "small for it");
  CHECK(fresh.substr(0, 12) == "[FILE/fresh]");
  CHECK(read_whole_file(path) == before);
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("checkpoint: a folder that is not there") {
  const TempFolder folder;
  CHECK(error_of([&] { save_model(folder.path() + "/none/m", TwoTower<float>(testing::rung_config("base"))); },
                 folder.path()) ==
        "[FILE/none/m] cannot be created: No such file or directory; make its folder first, or choose another");
}
