#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/run/run.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/train/fixtures.h"

using namespace tt;
namespace fs = std::filesystem;

namespace {

// Writes the tiny dataset, lets `spoil` change a tensor of one file, and returns what opening says.
template <class T, class F>
std::string opening_says(const std::string& file_name, const std::string& tensor, F&& spoil) {
  TempFolder folder;
  const std::string dir = folder.path() + "/d";
  write_dataset(dir, tiny_content());
  const std::string path = dir + "/" + file_name;
  {
    const SafetensorsFile file = SafetensorsFile::open(path);
    const TensorEntry& entry = file.entry(tensor);
    std::vector<T> values(file.data<T>(tensor), file.data<T>(tensor) + entry.elements());
    spoil(values);
    SafetensorsWriter writer;
    for (const std::string& name : file.names()) {
      const TensorEntry& e = file.entry(name);
      writer.add(name, e.dtype, name == tensor ? static_cast<const void*>(values.data()) : e.data, e.shape);
    }
    writer.write(path);
  }
  return error_of([&] { Dataset::open(dir); }, dir);
}

std::string writing_says(const DatasetContent& content) {
  TempFolder folder;
  const std::string dir = folder.path() + "/d";
  const std::string message = error_of([&] { write_dataset(dir, content); }, dir);
  CHECK(fs::is_empty(folder.path()));  // nothing half-written stays behind
  return message;
}

}  // namespace

TEST_CASE("dataset: what is written is what is viewed") {
  TempFolder folder;
  const std::string dir = folder.path() + "/new/d/";
  write_dataset(dir, tiny_content());
  const Dataset data = Dataset::open(dir);
  CHECK(data.num_users() == 4);
  CHECK(data.num_items() == 5);
  CHECK(data.tasks() == std::vector<std::string>{"click", "like"});
  CHECK(data.value_weights() == std::vector<float>{1, 1});
  CHECK(data.user_columns() == std::vector<std::string>{"age", "vip"});
  CHECK(data.item_features_size() == 3);
  CHECK(data.user_features()[4] == 1.5f);
  CHECK(data.has_positions());
  CHECK(data.has_ranker_scores());
  CHECK_FALSE(data.has_truth());
  CHECK(data.split(Split::train).size == 8);
  CHECK(data.split(Split::test).size == 2);
  CHECK(data.split(Split::train).position[5] == 2);
  CHECK(data.split(Split::train).ranker_scores[0] == 0.7f);
  CHECK(data.user_ids().text(3) == "dör");
  CHECK(data.user_ids().find("dör") == 3);
  CHECK(data.item_ids().find("i9") == std::nullopt);
  CHECK(std::vector<int64_t>(data.train_counts(), data.train_counts() + 5) == std::vector<int64_t>{2, 2, 2, 1, 1});
  CHECK(std::vector<int64_t>(data.train_positives(), data.train_positives() + 5) ==
        std::vector<int64_t>{2, 2, 0, 1, 1});
}

TEST_CASE("dataset: a history holds the strictly earlier actions, and no test action") {
  TempFolder folder;
  DatasetContent content = tiny_content();
  content.train.time[6] = 5;  // user 2's two train actions at the same moment
  write_dataset(folder.path() + "/d", content);
  const Dataset data = Dataset::open(folder.path() + "/d");
  const auto list = [&](int64_t user) {
    const auto actions = data.user_actions(user);
    return std::vector<int32_t>(actions.begin(), actions.end());
  };
  CHECK(list(0) == std::vector<int32_t>{0, 1, 3});  // train 0, 1, then valid 3; not 2 (no label), not 4 (test)
  CHECK(list(1) == std::vector<int32_t>{3, 4});
  CHECK(list(2) == std::vector<int32_t>{4, 0});
  const int32_t* train = data.split(Split::train).history_end;
  CHECK(std::vector<int32_t>(train, train + 8) == std::vector<int32_t>{0, 1, 0, 0, 0, 2, 0, 0});
  const int32_t* valid = data.split(Split::valid).history_end;
  CHECK(std::vector<int32_t>(valid, valid + 2) == std::vector<int32_t>{2, 1});
  const int32_t* test = data.split(Split::test).history_end;
  CHECK(std::vector<int32_t>(test, test + 2) == std::vector<int32_t>{3, 2});
  const int64_t at = data.history_offsets()[0] + 1;  // user 0's second action: clicked and liked
  CHECK(data.history_actions()[at * 2] == 1);
  CHECK(data.history_actions()[at * 2 + 1] == 1);
  CHECK(data.history_actions()[at * 2 - 1] == 0);
}

TEST_CASE("dataset: seen items and positives by user") {
  TempFolder folder;
  write_dataset(folder.path() + "/d", tiny_content());
  const Dataset data = Dataset::open(folder.path() + "/d");
  const auto of = [](const UserItems& items, int64_t user) {
    return std::vector<int32_t>(items.of(user).begin(), items.of(user).end());
  };
  CHECK(of(data.seen_before(Split::valid), 0) == std::vector<int32_t>{0, 1, 2});
  CHECK(of(data.seen_before(Split::test), 0) == std::vector<int32_t>{0, 1, 2, 3});
  CHECK(of(data.seen_before(Split::train), 0).empty());
  CHECK(of(data.positives(Split::train), 0) == std::vector<int32_t>{0, 1});
  CHECK(of(data.positives(Split::test), 2) == std::vector<int32_t>{1});
  CHECK(of(data.positives(Split::test), 3).empty());
}

TEST_CASE("dataset: what cannot be a dataset is refused before anything is written") {
  DatasetContent content = tiny_content();
  content.train = {};
  CHECK(writing_says(content) == "[dataset FILE] has no train interactions; an empty dataset cannot train anything");
  content = tiny_content();
  content.user_ids.clear();
  CHECK(writing_says(content) == "[dataset FILE] has no users; an empty dataset cannot train anything");
  content = tiny_content();
  content.item_ids[4] = "i0";
  CHECK(writing_says(content) == "[dataset FILE] item id \"i0\" appears twice; give each item one row");
  content = tiny_content();
  content.user_features.values[2] = NAN;
  CHECK(writing_says(content) ==
        "[dataset FILE] user row 1, feature \"age\" is nan; give a finite number, or leave "
        "the field empty for the mean");
  content = tiny_content();
  content.train.labels[3] = 1.5f;
  CHECK(writing_says(content) ==
        "[dataset FILE] train row 1: label \"like\" is 1.5, outside [0, 1]; scale it, or make "
        "it from a condition");
  content = tiny_content();
  content.test.item[1] = 5;
  CHECK(writing_says(content) == "[dataset FILE] test row 1: item row 5 is out of range, there are 5 items");
  content = tiny_content();
  content.valid.time[0] = NAN;
  CHECK(writing_says(content) == "[dataset FILE] valid row 0: time is nan; every interaction needs one");
  content = tiny_content();
  content.train.position[3] = -2;
  CHECK(writing_says(content) ==
        "[dataset FILE] train row 3: position is -2; give 0 for the first slot, -1 where it is not known");
  content = tiny_content();
  content.value_weights = {1, -1};
  CHECK(writing_says(content) == "[dataset FILE] has the value weight -1; give finite numbers, none below 0");
  content = tiny_content();
  content.also_write = [](const std::string&) { fail("disk", "full"); };
  CHECK(writing_says(content) == "[disk] full");
}

TEST_CASE("dataset: a full disk leaves nothing behind") {
  TempFolder folder;
  const std::string dir = folder.path() + "/d";
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  rlimit tight = before;
  tight.rlim_cur = 300;  // a file size limit stands in for a full disk
  setrlimit(RLIMIT_FSIZE, &tight);
  const std::string message = error_of([&] { write_dataset(dir, tiny_content()); }, dir);
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  CHECK(message ==
        "[FILE/users.safetensors] writing failed: File too large; nothing was written, the file size limit "
        "(ulimit -f) is too small for it");
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("dataset: an older dataset is replaced, anything else is left alone") {
  TempFolder folder;
  const std::string dir = folder.path() + "/d";
  fs::create_directory(dir);
  write_dataset(dir, tiny_content());  // an empty folder is fine
  DatasetContent second = tiny_content();
  second.user_ids[0] = "zoe";
  write_dataset(dir, second);
  CHECK(Dataset::open(dir).user_ids().text(0) == "zoe");
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);

  const std::string other = folder.path() + "/photos";
  fs::create_directory(other);
  write_file_atomically(other + "/cat.jpg", "meow");
  CHECK(error_of([&] { write_dataset(other, second); }, other) ==
        "[dataset FILE] exists and is not a dataset, so it is not replaced; choose another --out or remove "
        "it first");
  CHECK(fs::exists(other + "/cat.jpg"));
  CHECK(error_of([&] { write_dataset(other + "/cat.jpg", second); }, other + "/cat.jpg") ==
        "[dataset FILE] exists and is not a folder; choose another --out");
}

TEST_CASE("dataset: what lies beside an older dataset's files is not lost with it") {
  TempFolder folder;
  const std::string dir = folder.path() + "/d";
  write_dataset(dir, tiny_content());
  fs::create_directory(dir + "/run");  // twotower train --data d --out d/run
  write_file_atomically(dir + "/run/config.toml", "");
  const auto message = error_of([&] { write_dataset(dir, tiny_content()); }, dir);
  CHECK(message ==
        "[dataset FILE] is a dataset that would be replaced, but its folder holds \"run\", too, which would be lost; "
        "move that away, or choose another --out");
  CHECK(fs::exists(dir + "/run/config.toml"));
  CHECK(Dataset::open(dir).num_users() == 4);
}

TEST_CASE("dataset: a folder with another dataset.json is no dataset") {
  TempFolder folder;
  const std::string path = folder.path();
  write_file_atomically(path + "/dataset.json", R"({"format": 3})");
  CHECK(error_of([&] { write_dataset(path, tiny_content()); }, path) ==
        "[dataset FILE] exists and is not a dataset, so it is not replaced; choose another --out or remove it first");
}

TEST_CASE("dataset: later than train, by real times only") {
  TempFolder folder;
  DatasetContent content = tiny_content();
  const auto later = [&](Split s) {
    write_dataset(folder.path() + "/d", content);
    return Dataset::open(folder.path() + "/d").later_than_train(s);
  };
  CHECK(later(Split::valid));
  CHECK(later(Split::test));
  CHECK_FALSE(later(Split::train));
  content.valid.time[1] = 6.5;  // train ends at 7
  CHECK_FALSE(later(Split::valid));
  content.has_times = false;
  CHECK_FALSE(later(Split::test));
  content = tiny_content();
  content.test = {};
  CHECK_FALSE(later(Split::test));
}

TEST_CASE("dataset: without features there is one constant column") {
  TempFolder folder;
  DatasetContent content = tiny_content();
  content.user_features = {};
  content.item_features = {};
  write_dataset(folder.path() + "/d", content);
  const Dataset data = Dataset::open(folder.path() + "/d");
  CHECK(data.user_columns() == std::vector<std::string>{"constant"});
  CHECK(data.item_features()[4] == 1);
  ModelConfig model;  // which a model does not read
  fit_config_to_data(model, data);
  CHECK(model.user_features_size == 0);
  CHECK(model.item_features_size == 0);
}

TEST_CASE("dataset: opening refuses damaged columns and says which row") {
  const auto set = [](size_t at, auto value) { return [=](auto& values) { values[at] = value; }; };
  CHECK(opening_says<int32_t>("train.safetensors", "user", set(2, 4)) ==
        "[dataset FILE/train.safetensors] row 2: user 4 is out of range, there are 4 users; was it written "
        "for another "
        "dataset?");
  CHECK(opening_says<int32_t>("test.safetensors", "item", set(0, -1)) ==
        "[dataset FILE/test.safetensors] row 0: item -1 is out of range, there are 5 items; was it written "
        "for another "
        "dataset?");
  CHECK(opening_says<int32_t>("train.safetensors", "history_end", set(1, 9)) ==
        "[dataset FILE/train.safetensors] row 1: history_end 9 is out of range, user row 0 has 3 actions");
  CHECK(opening_says<int32_t>("train.safetensors", "position", set(1, -2)) ==
        "[dataset FILE/train.safetensors] row 1: position -2 is out of range; give 0 for the first slot, -1 "
        "where it "
        "is not known");
  CHECK(opening_says<float>("valid.safetensors", "labels", set(1, -0.5f)) ==
        "[dataset FILE/valid.safetensors] row 0: label \"like\" is -0.5, outside [0, 1]; scale it when the "
        "data is "
        "made");
  CHECK(opening_says<double>("train.safetensors", "time", set(1, std::nan(""))) ==
        "[dataset FILE/train.safetensors] row 1: time is nan; every impression needs a finite one");
  CHECK(opening_says<float>("items.safetensors", "features", set(4, NAN)) ==
        "[dataset FILE/items.safetensors] row 1: feature \"b\" is nan; every feature must be a finite number");
  CHECK(opening_says<int64_t>("history.safetensors", "offsets", set(1, int64_t{99})) ==
        "[dataset FILE/history.safetensors] offsets do not run from 0 to 8; the file is damaged, make the "
        "dataset "
        "again");
  CHECK(opening_says<int64_t>("users.safetensors", "id_offsets", set(1, int64_t{-1})) ==
        "[dataset FILE/users.safetensors] id_offsets do not run from 0 to 13; the file is damaged, make the "
        "dataset "
        "again");
}

TEST_CASE("dataset: what is not a dataset is refused with the way to make one") {
  TempFolder folder;
  const std::string none = folder.path() + "/none", path = folder.path();
  CHECK(error_of([&] { Dataset::open(none); }, none) ==
        "[dataset FILE] is not there; check the path, or make one with `twotower simulate` or `twotower "
        "import`");
  CHECK(error_of([&] { Dataset::open(path); }, path) ==
        "[dataset FILE] has no dataset.json, so it is not a dataset; check the path");
  write_file_atomically(path + "/dataset.json", "{]");
  CHECK(error_of([&] { Dataset::open(path); }, path) ==
        "[dataset FILE/dataset.json] does not describe a twotower dataset; make it again");
  write_file_atomically(path + "/dataset.json", R"({"format":"twotower dataset","version":2})");
  CHECK(error_of([&] { Dataset::open(path); }, path) ==
        "[dataset FILE/dataset.json] has version 2, this program reads version 1; make it again with this "
        "program");
  CHECK(error_of([&] { split_from_name("dev"); }) == "[split] \"dev\" is not a split; choose train, valid or test");
}
