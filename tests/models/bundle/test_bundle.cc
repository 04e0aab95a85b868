// The file that all serving needs: what it holds, and what it refuses to be.

#include <doctest/doctest.h>
#include <twotower/models/bundle/bundle.h>
#include <twotower/models/bundle/weights.h>
#include <twotower/tensor/files/atomic_file.h>

#include <chrono>
#include <map>

#include "tests/models/bundle_fixtures.h"

using namespace tt;

namespace {

ModelConfig history_config() {
  ModelConfig config = testing::rung_config("history");
  config.history_actions = 2;
  return config;
}

// The file again with other parts or metadata: what a careless tool leaves behind.
struct Rewrite {
  std::map<std::string, std::string> metadata;   // replaced; "-": left out
  std::vector<std::string> without;              // tensors left out
  const ParameterSet<float>* weights = nullptr;  // in place of its own
  std::string extra;                             // one more tensor
};
void rewrite(const std::string& path, const Rewrite& how) {
  std::string to = path + ".new";
  {
    const SafetensorsFile file = SafetensorsFile::open(path);
    SafetensorsWriter writer;
    for (const std::string& name : file.names()) {
      if (std::count(how.without.begin(), how.without.end(), name) > 0) continue;
      const TensorEntry& entry = file.entry(name);
      const Parameter<float>* other = how.weights ? how.weights->find(name) : nullptr;
      writer.add(name, entry.dtype, other ? static_cast<const void*>(other->value.data()) : entry.data, entry.shape);
    }
    const float one = 1;
    if (!how.extra.empty()) writer.add(how.extra, &one, {1});
    for (const auto& [key, value] : file.metadata()) {
      const auto found = how.metadata.find(key);
      if (found == how.metadata.end())
        writer.metadata(key, value);
      else if (found->second != "-")
        writer.metadata(key, found->second);
    }
    writer.write(to);
  }
  std::filesystem::rename(to, path);
}

std::string open_error(const std::string& path) {
  return error_of([&] { Bundle::open(path); }, path);
}

void flip_byte(const std::string& path, const std::string& tensor, size_t at) {
  std::string bytes = read_whole_file(path);
  size_t place = 0;
  {
    const SafetensorsFile file = SafetensorsFile::open(path);
    const std::string& first = file.names().front();
    const size_t data_start = bytes.size() - [&] {
      size_t all = 0;
      for (const std::string& name : file.names()) all += file.entry(name).bytes;
      return all;
    }();
    place = data_start + static_cast<size_t>(file.entry(tensor).data - file.entry(first).data) + at;
  }
  bytes[place] = static_cast<char>(bytes[place] ^ 1);
  write_file_atomically(path, bytes);
}

}  // namespace

TEST_CASE("bundle: what was written is what is opened, for every rung, and the weights are used as they lie") {
  for (const std::string& rung : rung_names()) {
    INFO("rung ", rung);
    const TempFolder folder;
    ModelConfig config = testing::rung_config(rung);
    testing::HandMade made(config, 6, 9);
    const Bundle bundle = Bundle::open(made.write(folder));
    bundle.verify();
    CHECK(to_json(bundle.config()) == to_json(config));
    for (const Parameter<float>* p : made.model.parameters().all()) {
      const Parameter<float>* q = bundle.model().parameters().find(p->name);
      REQUIRE(q);
      CHECK(std::equal(p->value.begin(), p->value.end(), q->value.begin(), q->value.end()));
    }
    CHECK(bundle.model().parameters().all().size() == made.model.parameters().all().size());
    const Tensor<const float> v = bundle.item_vectors();
    CHECK(std::equal(v.begin(), v.end(), made.content.items.vectors.begin(), made.content.items.vectors.end()));
  }
}

TEST_CASE("bundle: ids, users, histories and categories") {
  const TempFolder folder;
  testing::HandMade made(history_config(), 6, 9);
  const Bundle bundle = Bundle::open(made.write(folder));
  CHECK(bundle.num_items() == 9);
  CHECK(bundle.num_users() == 6);
  for (int64_t i = 0; i < 9; ++i) CHECK(bundle.item_ids().find("i" + std::to_string(i)) == i);
  CHECK(bundle.item_ids().text(4) == "i4");
  CHECK(!bundle.item_ids().find("i"));
  CHECK(!bundle.item_ids().find("i9"));
  CHECK(!bundle.item_ids().find(""));
  CHECK(bundle.user_ids().find("u5") == 5);
  CHECK(bundle.learnt_items()[7] == 1);
  CHECK(bundle.learnt_items()[8] == 0);
  CHECK(bundle.learnt_users()[5] == 0);
  const auto history = bundle.user_history(3);
  CHECK(std::vector<int32_t>(history.begin(), history.end()) == std::vector<int32_t>{3, 4, 5});
  const auto actions = bundle.user_history_actions(3);
  CHECK(std::vector<uint8_t>(actions.begin(), actions.end()) == std::vector<uint8_t>{0, 1, 1, 0, 0, 1});
  const auto seen = bundle.seen(3);
  CHECK(std::vector<int32_t>(seen.begin(), seen.end()) == std::vector<int32_t>{3, 4, 5, 6});
  CHECK(bundle.user_history(0).empty());
  CHECK(bundle.user_features(2)[1] == made.user_features[7]);
  CHECK(bundle.data().protocol == "given split");
  CHECK(bundle.data().rows == "rows");
  CHECK(bundle.data().tasks == std::vector<std::string>{"click", "like"});
  REQUIRE(bundle.categories().size() == 2);
  CHECK(bundle.categories()[0].name == "genre");
  CHECK(bundle.categories()[0].values.find("ö") == 2);
  CHECK(bundle.categories()[0].has(4, 1));
  CHECK(!bundle.categories()[0].has(4, 0));
  REQUIRE(bundle.title());
  CHECK(bundle.title()->of(1).size() == 1);
  CHECK(bundle.title()->of(2).empty());
  CHECK(error_of([&] { bundle.seen(6); }, folder.path()) ==
        "[bundle FILE/bundle.safetensors] has no user row 6, there are 6");
}

TEST_CASE("bundle: without users for privacy, their table is gone, too") {
  const TempFolder folder;
  testing::HandMade made(history_config(), 6, 9);
  made.content.users = nullptr;
  const std::string path = made.write(folder);
  const Bundle bundle = Bundle::open(path);
  bundle.verify();
  CHECK(!bundle.has_users());
  CHECK(bundle.config().user_id_hash_size == 1);
  const SafetensorsFile file = SafetensorsFile::open(path);
  for (const std::string& name : file.names()) CHECK(!name.starts_with("users."));
  CHECK(file.entry("user_id_embedding_arch.weight").shape == std::vector<int64_t>{1, 3});
  for (int64_t j = 0; j < 3; ++j) CHECK(file.data<float>("user_id_embedding_arch.weight")[j] == 0);
}

TEST_CASE("bundle: what does not belong together is refused in a line with its mend") {
  const TempFolder folder;
  testing::HandMade made(history_config(), 6, 9);
  const std::string path = folder.path() + "/bundle.safetensors";
  const auto refusal = [&](const Rewrite& how) {
    made.write(folder);
    rewrite(path, how);
    return open_error(path);
  };
  CHECK(refusal({}) == "");
  CHECK(refusal({{{"format", "-"}}, {}, nullptr, ""}) ==
        "[bundle FILE] is no bundle: its metadata does not say so; give a bundle.safetensors, or make one with "
        "`twotower pack`");
  CHECK(refusal({{{"version", "3"}}, {}, nullptr, ""}) ==
        "[bundle FILE] has format version 3, this program reads 1 and 2; make it anew with `twotower pack`");
  CHECK(refusal({{{"model", "-"}}, {}, nullptr, ""}).starts_with("[bundle FILE] its metadata "));
  const std::string changed =
      "[bundle FILE] its metadata is not what was written: the file is damaged or was changed; make it anew with "
      "`twotower pack`";
  for (const char* key : {"fingerprint.vectors", "fingerprint.weights", "fingerprint.weights_sample",
                          "fingerprint.serving", "user_features", "data"}) {
    INFO(key);
    CHECK(refusal({{{key, "0123"}}, {}, nullptr, ""}) == changed);
  }
  for (const char* name : {"items.id_bytes", "items.id_order", "items.learnt", "users.learnt", "users.features",
                           "users.history_items", "users.history_actions", "users.seen_offsets", "items.vectors",
                           "items.category.genre.codes", "item_tower_arch.weight"}) {
    INFO(name);
    CHECK(refusal({{}, {name}, nullptr, ""}) ==
          "[bundle FILE] \"" + std::string(name) + "\" is missing; make it anew with `twotower pack`");
  }
  CHECK(refusal({{}, {"users.id_offsets", "users.id_bytes"}, nullptr, ""}).find("but no ids of users") !=
        std::string::npos);
  CHECK(refusal({{}, {}, nullptr, "light_ranker.weight"}) ==
        "[bundle FILE] \"light_ranker.weight\" is none of the model's weights; make it anew with `twotower pack`");
  const TwoTower<float> other(history_config(), 8);
  CHECK(refusal({{}, {}, &other.parameters(), ""}) ==
        "[bundle FILE] its weights are not those that its item vectors were made with; make it anew with `twotower "
        "pack`");

  // Shapes of another config.
  SafetensorsWriter writer;
  {
    const SafetensorsFile file = SafetensorsFile::open(made.write(folder));
    const std::vector<float> wide(5 * 9);
    for (const std::string& name : file.names())
      if (name == "items.vectors")
        writer.add(name, wide.data(), {9, 5});
      else
        writer.add(name, file.entry(name).dtype, file.entry(name).data, file.entry(name).shape);
    for (const auto& [key, value] : file.metadata()) writer.metadata(key, value);
    writer.write(path + "2");
  }
  CHECK(open_error(path + "2") ==
        "[bundle FILE] \"items.vectors\" is F32 [9, 5], expected F32 [9, 4]; make it anew with `twotower pack`");

  // Vectors of other weights, of the right shape.
  SafetensorsWriter swapped;
  {
    const SafetensorsFile file = SafetensorsFile::open(made.write(folder));
    const std::vector<float> old(4 * 9, 0.5f);
    for (const std::string& name : file.names())
      swapped.add(name, file.entry(name).dtype,
                  name == "items.vectors" ? static_cast<const void*>(old.data()) : file.entry(name).data,
                  file.entry(name).shape);
    for (const auto& [key, value] : file.metadata()) swapped.metadata(key, value);
    swapped.write(path + "3");
  }
  CHECK(open_error(path + "3") ==
        "[bundle FILE] its item vectors are not those that were made with its weights; make it anew with `twotower "
        "pack`");

  // A feature encoder of another layout.
  made.content.item_encoder = FeatureEncoder(R"({"columns": ["year", "old", "new"]})", "test");
  CHECK(open_error(made.write(folder)) ==
        "[bundle FILE] the model reads 2 item features, the encoder makes 3; make it anew with `twotower pack`");
}

TEST_CASE("bundle: one changed byte is found by verify()") {
  const TempFolder folder;
  ModelConfig config = history_config();
  config.item_id_hash_size = 400;
  testing::HandMade made(config, 6, 9);
  const std::string path = made.write(folder);
  for (const auto& [tensor, at, message] :
       {std::tuple{"items.learnt", 5,
                   "[bundle FILE] its ids, vectors or histories are not those that were written; "
                   "make it anew with `twotower pack`"},
        std::tuple{"users.seen_items", 1,
                   "[bundle FILE] its ids, vectors or histories are not those that were "
                   "written; make it anew with `twotower pack`"},
        std::tuple{"item_id_embedding_arch.weight", 1000,  // between the pieces that opening looks at
                   "[bundle FILE] its weights are not those that were written; make it anew with `twotower pack`"}}) {
    INFO(tensor);
    made.write(folder);
    flip_byte(path, tensor, static_cast<size_t>(at));
    const Bundle bundle = Bundle::open(path);
    CHECK(error_of([&] { bundle.verify(); }, path) == message);
  }
}

TEST_CASE("bundle: parts that do not fit each other are not written") {
  const TempFolder folder;
  testing::HandMade made(history_config(), 6, 9);
  made.write(folder);
  made.content.items.vectors = {made.content.items.vectors.data(), {8, 4}};
  CHECK(error_of([&] { write_bundle(folder.path() + "/b", made.content); }) ==
        "[bundle] there are 9 items of width 4, but vectors [8, 4]");
  testing::HandMade many(history_config(), 7, 9);
  CHECK(error_of([&] { many.write(folder); }) == "[bundle] there are 7 users, the model knows 6");
  CHECK(!std::filesystem::exists(folder.path() + "/b"));
}

TEST_CASE("bundle: opening a large one takes no longer than a blink") {
  const TempFolder folder;
  ModelConfig config = history_config();
  config.user_id_hash_size = 200000, config.item_id_hash_size = 300000;
  config.user_id_embedding_dim = config.item_id_embedding_dim = 32;
  testing::HandMade made(config, 200000, 300000);
  const std::string path = made.write(folder);
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const Bundle bundle = Bundle::open(path);
    CHECK(bundle.user_ids().find("u123456") == 123456);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  INFO("seconds to open ", std::filesystem::file_size(path) / 1e6, " MB and find a user: ", best);
  CHECK(best < 0.05);
}

TEST_CASE("config: through JSON and back, and what is refused") {
  ModelConfig config = testing::rung_config("kd", "reference");
  config.temperature = 0.1, config.user_value_weights = {1, 1e-3};
  CHECK(to_json(model_config_from_json(to_json(config), "test")) == to_json(config));
  const auto refusal = [](const std::string& json) {
    return error_of([&] { model_config_from_json(json, "bundle F"); });
  };
  CHECK(refusal("[]") == "[bundle F] the model's config is no JSON object; make the file anew");
  CHECK(refusal("{\"tau\": 1}") ==
        "[bundle F] the model's config has the unknown key \"tau\"; it was made by another version of twotower: make "
        "it anew with this one");
  CHECK(refusal("{\"history\": \"yes\"}") ==
        "[bundle F] the model's config has \"yes\" for \"history\"; make the file anew");
  CHECK(refusal("{\"history\": true}") == "[config] model.user_id_hash_size = 0; it must be at least 1");
}

TEST_CASE("bundle: from memory it is the same as from its file, and refuses the same") {
  const ModelConfig config = history_config();
  testing::HandMade made(config, 6, 9);
  const TempFolder folder;
  const std::string path = made.write(folder);
  std::string bytes = read_whole_file(path);
  const Bundle file = Bundle::open(path);
  {
    const Bundle memory = Bundle::view(bytes.data(), bytes.size());
    memory.verify();
    CHECK(memory.weights_fingerprint() == file.weights_fingerprint());
    CHECK(memory.path() == "in memory");
    CHECK(std::equal(memory.item_vectors().begin(), memory.item_vectors().end(), file.item_vectors().begin()));
  }
  CHECK(error_of([&] { Bundle::view(bytes.data(), bytes.size() - 1, "b"); }).find("[safetensors b] ") == 0);
}
