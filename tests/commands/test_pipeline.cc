// simulate -> train -> evaluate -> retrieve -> export -> inspect -> step, each command on what the one before
// left.

#include <doctest/doctest.h>
#include <twotower/tensor/files/safetensors.h>

#include "tests/commands/program.h"

using namespace tt;
using namespace tt::testing;
namespace fs = std::filesystem;

namespace {

// A batch of two impressions for a model with features of the widths that `weights.safetensors` reads.
void write_batch(const std::string& path, const std::string& model_path) {
  const SafetensorsFile model = SafetensorsFile::open(model_path);
  const int64_t users = model.entry("user_features_arch.0.weight").shape[1],
                items = model.entry("item_features_arch.0.weight").shape[1];
  const int64_t ids[] = {0, 1};
  const std::vector<float> user_features(static_cast<size_t>(2 * users), 0.5f),
      item_features(static_cast<size_t>(2 * items), -0.5f), labels = {1, 0, 1, 1};
  const int64_t history[] = {3, 4, 5, -1};
  SafetensorsWriter batch;
  batch.add("user_id", ids, {2});
  batch.add("item_id", ids, {2});
  batch.add("user_features", user_features.data(), {2, users});
  batch.add("item_features", item_features.data(), {2, items});
  batch.add("user_history", history, {2, 2});
  batch.add("labels", labels.data(), {2, 2});
  batch.write(path);
}

}  // namespace

TEST_CASE("program: from simulated data to recommendations and one step") {
  const TempFolder folder;
  const auto run = [&](const Arguments& a) { return run_program(folder.path(), a); };
  const auto at = [&](const std::string& name) { return folder.path() + "/" + name; };

  Outcome o = run({"simulate", "--out", "D", "--users", "80", "--items", "40", "--impressions", "3000", "--tasks", "2",
                   "--json", "--quiet"});
  INFO(o.err);
  REQUIRE(o.status == 0);
  CHECK(o.err.empty());
  CHECK(o.json()["users"] == 80);
  CHECK(o.json()["impressions"]["train"] == 2400);

  o = run({"train", "--data", "D", "--out", "R", "--model", "history", "--set", "epochs=2", "--set",
           "item_id_embedding_dim=16", "--json", "--quiet"});
  INFO(o.err);
  REQUIRE(o.status == 0);
  CHECK(o.err.empty());
  CHECK(o.json()["epochs"] == 2);
  CHECK(o.json()["monitor"] == "recall@20");
  CHECK(o.json()["valid"].contains("recall@20"));
  for (const char* file : {"config.toml", "bundle.safetensors", "weights.safetensors", "metrics.jsonl",
                           "last.safetensors", "state.safetensors"})
    CHECK(fs::exists(at(std::string("R/") + file)));

  SUBCASE("evaluate, with the K that a small corpus has") {
    o = run({"evaluate", "--run", "R", "--json"});
    INFO(o.err);
    REQUIRE(o.status == 0);
    const auto json = o.json();
    CHECK(json["measures"].contains("recall@20"));
    CHECK(!json["measures"].contains("recall@100"));
    CHECK(json["intervals"].contains("recall@20"));
    CHECK(json["baselines"].contains("popularity"));
    CHECK(json["users"] > 0);
    o = run({"evaluate", "--run", "R", "--baselines", "markov,all", "--json"});
    INFO(o.err);
    REQUIRE(o.status == 0);
    CHECK(o.err.find("ease: a matrix of ") != std::string::npos);
    const auto beside = o.json();
    for (const char* name : {"popularity", "recent", "itemknn", "markov", "ease", "als", "als_ranker", "random"}) {
      INFO(name);
      REQUIRE(beside["baselines"].contains(name));
      const auto& difference = beside["differences"][name]["recall@20"];
      CHECK(difference["mean"].get<double>() == doctest::Approx(beside["measures"]["recall@20"].get<double>() -
                                                                beside["baselines"][name]["recall@20"].get<double>())
                                                    .epsilon(1e-4));
      CHECK(difference["interval"][0] <= difference["mean"]);
      CHECK(difference["interval"][1] >= difference["mean"]);
    }
    o = run({"evaluate", "--run", "R", "--baselines", "ease", "--quiet"});
    REQUIRE(o.status == 0);
    CHECK(o.err == "");
    CHECK(o.out.find("the model less each baseline") != std::string::npos);
    o = run({"evaluate", "--run", "R", "--split", "valid", "--k", "5,7", "--no-baselines", "--doctor"});
    REQUIRE(o.status == 0);
    CHECK(o.out.find("recall@7") != std::string::npos);
    CHECK(o.out.find("doctor") != std::string::npos);
    o = run({"evaluate", "--run", "R", "--split", "train", "--by", "impressions", "--no-baselines", "--json"});
    INFO(o.err);
    REQUIRE(o.status == 0);
    int64_t users = 0;
    const nlohmann::json by = o.json();
    for (const auto& group : by["groups"]) {
      CHECK(group["impressions"] != "0");  // who is in train has some
      CHECK(group["measures"].contains("funnel_value@10:20"));
      users += group["users"].get<int64_t>();
    }
    CHECK(users == by["users"]);
    o = run({"evaluate", "--run", "R", "--by", "impressions", "--no-baselines", "--no-intervals"});
    REQUIRE(o.status == 0);
    CHECK(o.out.find("impressions that the training split has of a user\n\nimpressions") != std::string::npos);
  }
  SUBCASE("retrieve, by id, from a file, and for who was not in the data") {
    o = run({"retrieve", "--run", "R", "--user", "u3", "u5", "-k", "4", "--json"});
    INFO(o.err);
    REQUIRE(o.status == 0);
    REQUIRE(o.json().size() == 2);
    CHECK(o.json()[1]["user"] == "u5");
    CHECK(o.json()[0]["items"].size() <= 4);
    const auto answer = o.json();
    for (const auto& item : answer[0]["items"]) CHECK(item["score"].is_number());

    folder.file("ids.txt",
                "\xef\xbb\xbfu3\r\n\r\nu5");  // a byte order mark, CR LF, a blank line, no last newline
    const Outcome from_file = run({"retrieve", "--run", "R", "--users", "ids.txt", "-k", "4", "--json"});
    CHECK(from_file.status == 0);
    CHECK(from_file.out == o.out);

    const nlohmann::json data = nlohmann::json::parse(read_whole_file(at("D/dataset.json")));
    const auto new_line = [&](const char* side, const std::string& id) {
      std::string header = "id", line = id;
      for (const auto& source : data[side]["sources"]) header += "," + source["name"].get<std::string>(), line += ",";
      return header + "\n" + line + "\n";
    };
    folder.file("guests.csv", new_line("user_features", "a guest"));
    folder.file("new.csv", new_line("item_features", "brand new"));
    o = run({"retrieve", "--run", "R", "--users-from", "guests.csv", "--items-from", "new.csv", "--only-new", "-k", "1",
             "--json", "--quiet"});
    INFO(o.err);
    REQUIRE(o.status == 0);
    CHECK(o.json()[0]["user"] == "a guest");
    CHECK(o.json()[0]["items"][0]["item"] == "brand new");
  }
  SUBCASE("export: vectors, and the user tower") {
    REQUIRE(run({"export", "--run", "R", "--items", "--out", "items.safetensors"}).status == 0);
    const SafetensorsFile items = SafetensorsFile::open(at("items.safetensors"));
    CHECK(items.entry("item_embedding").shape == std::vector<int64_t>{40, 16});
    REQUIRE(run({"export", "--run", "R", "--users", "--out", "users.npy", "--quiet"}).status == 0);
    CHECK(read_whole_file(at("users.npy")).substr(1, 5) == "NUMPY");
    const std::string ids = read_whole_file(at("users.npy.ids.txt"));
    CHECK(std::count(ids.begin(), ids.end(), '\n') == 80);
    REQUIRE(run({"export", "--run", "R", "--items", "--out", "items", "--format", "jsonl"}).status == 0);
    const std::string points = read_whole_file(at("items"));
    CHECK(std::count(points.begin(), points.end(), '\n') == 40);
    const auto point = nlohmann::json::parse(points.substr(0, points.find('\n')));
    const float* first = items.data<float>("item_embedding");
    CHECK(point["vector"].get<std::vector<float>>() == std::vector<float>(first, first + 16));
    CHECK(mistake_of(run({"export", "--run", "R", "--users", "--out", "users.txt"})) ==
          "[export] --out users.txt: the name must end in .npy, .safetensors, .fbin, .jsonl or .csv, or --format say "
          "what to write");
    CHECK(mistake_of(run({"export", "--run", "R", "--users", "--onnx", "tower.onnx"})) ==
          "[export] give one of --items, --users and --onnx");
    CHECK(run({"export", "--run", "R", "--onnx", "tower.onnx"}).err == "wrote the user tower to tower.onnx\n");
    CHECK(read_whole_file(at("tower.onnx")).find("user_embedding") != std::string::npos);
  }
  SUBCASE("inspect a run, a dataset and a file") {
    for (const char* what : {"R", "D", "R/weights.safetensors", "R/bundle.safetensors"}) {
      o = run({"inspect", what});
      CHECK(o.status == 0);
      CHECK(o.out.find(what == std::string("D") ? "train impressions" : "item_id_embedding_arch.weight") !=
            std::string::npos);
    }
  }
  SUBCASE("step with the run's own config and weights") {
    write_batch(at("batch.safetensors"), at("R/weights.safetensors"));
    o = run({"step", "--config", "R/config.toml", "--weights", "R/weights.safetensors", "--batch", "batch.safetensors",
             "--out", "out.safetensors"});
    INFO(o.err);
    REQUIRE(o.status == 0);
    const SafetensorsFile out = SafetensorsFile::open(at("out.safetensors"));
    CHECK(out.entry("loss").elements() == 1);
    CHECK(out.entry("user_embedding").shape == std::vector<int64_t>{2, 16});
    CHECK(out.entry("grad.item_id_embedding_arch.weight").shape == std::vector<int64_t>{40, 16});
  }
  SUBCASE("the dataset moved: the run says so, and --data helps") {
    fs::rename(at("D"), at("moved"));
    CHECK(mistake_of(run({"evaluate", "--run", "R"})).find("is not there; give its place with --data DIR") !=
          std::string::npos);
    CHECK(run({"evaluate", "--run", "R", "--data", "moved", "--no-baselines", "--no-intervals"}).status == 0);
  }
  SUBCASE("resume: two more epochs, each with its line") {
    o = run({"train", "--data", "D", "--out", "R", "--model", "history", "--set", "epochs=4", "--set", "patience=0",
             "--set", "item_id_embedding_dim=16", "--resume", "--json"});
    INFO(o.err);
    REQUIRE(o.status == 0);
    CHECK(o.json()["epochs"] == 4);
    CHECK(o.err.find("resuming after epoch 2") != std::string::npos);
    const std::string lines = read_whole_file(at("R/metrics.jsonl"));
    CHECK(std::count(lines.begin(), lines.end(), '\n') == 4);
  }
  SUBCASE("resume: another model or optimizer is refused") {
    const auto message = [&](const char* model, const char* set) {
      return mistake_of(run({"train", "--data", "D", "--out", "R", "--model", model, "--set",
                             "item_id_embedding_dim=16", "--set", set, "--resume", "--quiet"}));
    };
    CHECK(message("base", "epochs=4").find("it was trained with history = true, this is history = false") !=
          std::string::npos);
    CHECK(message("history", "optimizer=adagrad").find("cannot resume") != std::string::npos);
  }
  SUBCASE("a start that fails leaves the older run as it was") {
    const std::string before = read_whole_file(at("R/weights.safetensors")),
                      config = read_whole_file(at("R/config.toml"));
    const std::string message = mistake_of(run(
        {"train", "--data", "D", "--out", "R", "--quiet", "--set", "learning_rate=1e30", "--set", "batch_size=64"}));
    CHECK(message.find("lower learning_rate") != std::string::npos);
    CHECK(read_whole_file(at("R/weights.safetensors")) == before);
    CHECK(read_whole_file(at("R/config.toml")) == config);
  }
}

TEST_CASE("program: every command tells of itself, with an example") {
  const TempFolder folder;
  for (const char* command :
       {"simulate", "import", "train", "evaluate", "retrieve", "export", "step", "inspect", "demo"}) {
    const Outcome o = run_program(folder.path(), {command, "--help"});
    CHECK_MESSAGE(o.status == 0, command);
    CHECK_MESSAGE(o.out.find(std::string("twotower ") + command) != std::string::npos, command);
    CHECK_MESSAGE(o.out.find("Example:") != std::string::npos, command);
    CHECK_MESSAGE(o.err.empty(), command);
  }
  CHECK(run_program(folder.path(), {"--version"}).status == 0);
  CHECK(run_program(folder.path(), {"--help"}).status == 0);
}
