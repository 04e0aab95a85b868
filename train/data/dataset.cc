#include <twotower/tensor/error.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/data/positives.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace tt {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr std::string_view kSplitNames[] = {"train", "valid", "test"};

// offsets[0] = 0, never backwards, ending at `end`.
void check_offsets(const std::string& where, const char* name, const int64_t* offsets, int64_t rows, int64_t end) {
  bool good = offsets[0] == 0 && offsets[rows] == end;
  for (int64_t i = 0; good && i < rows; ++i) good = offsets[i] <= offsets[i + 1];
  check(good, where, name, " do not run from 0 to ", end, "; the file is damaged, make the dataset again");
}

void check_rows(const std::string& where, const char* what, const int32_t* rows, int64_t n, int64_t limit) {
  for (int64_t i = 0; i < n; ++i)
    check(rows[i] >= 0 && rows[i] < limit, where, "row ", i, ": ", what, " ", rows[i], " is out of range, there are ",
          limit, " ", what, "s; was it written for another dataset?");
}

void check_unit(const std::string& where, const char* what, const float* values, int64_t n,
                const std::vector<std::string>& tasks) {
  const auto t = static_cast<int64_t>(tasks.size());
  for (int64_t i = 0; i < n * t; ++i)
    check(values[i] >= 0 && values[i] <= 1, where, "row ", i / t, ": ", what, " \"", tasks[static_cast<size_t>(i % t)],
          "\" is ", values[i], ", outside [0, 1]; scale it when the data is made");
}

}  // namespace

std::string_view split_name(Split split) { return kSplitNames[static_cast<size_t>(split)]; }

Split split_from_name(std::string_view name) {
  for (size_t s = 0; s < 3; ++s)
    if (name == kSplitNames[s]) return static_cast<Split>(s);
  fail("split", "\"", name, "\" is not a split; choose train, valid or test");
}

// ------------------------------------------------------------------------------------------------ opening

Dataset Dataset::open(const std::string& dir) {
  Dataset data;
  data.dir_ = dir;
  while (data.dir_.size() > 1 && data.dir_.back() == '/') data.dir_.pop_back();
  data.read_info();
  data.read_side(true);
  data.read_side(false);
  data.read_history();
  for (const Split s : {Split::train, Split::valid, Split::test}) data.read_split(s);
  return data;
}

void Dataset::read_info() {
  const std::string where = "dataset " + dir_, path = dir_ + "/dataset.json";
  std::error_code ignored;
  check(fs::exists(dir_, ignored), where,
        "is not there; check the path, or make one with `twotower simulate` or `twotower import`");
  check(fs::exists(path, ignored), where, "has no dataset.json, so it is not a dataset; check the path");
  auto info = json::parse(read_whole_file(path), nullptr, false);
  check(info.is_object() && info.value("format", json()) == "twotower dataset", "dataset " + path,
        "does not describe a twotower dataset; make it again");
  check(info.value("version", json()) == 1, "dataset " + path, "has version ", info.value("version", json()).dump(),
        ", this program reads version 1; make it again with this program");
  try {
    num_users_ = info.at("users").get<int64_t>();
    num_items_ = info.at("items").get<int64_t>();
    protocol_ = info.at("protocol").get<std::string>();
    tasks_ = info.at("tasks").get<std::vector<std::string>>();
    actions_ = info.at("actions").get<std::vector<std::string>>();
    value_weights_ = info.at("value_weights").get<std::vector<float>>();
    has_positions_ = info.at("positions").get<bool>();
    has_ranker_scores_ = info.at("ranker_scores").get<bool>();
    if (info.contains("times")) has_times_ = info["times"].get<bool>();
    user_columns_ = info.at("user_features").at("columns").get<std::vector<std::string>>();
    item_columns_ = info.at("item_features").at("columns").get<std::vector<std::string>>();
    for (const std::string_view s : kSplitNames) info.at("impressions").at(std::string(s)).get<int64_t>();
  } catch (const json::exception& error) {
    fail("dataset " + path, "lacks a field or has one of the wrong type (", error.what(), "); make it again");
  }
  check(num_users_ > 0 && num_items_ > 0 && !tasks_.empty(), "dataset " + path, "has ", num_users_, " users, ",
        num_items_, " items and ", tasks_.size(), " tasks; an empty dataset cannot train anything");
  check(value_weights_.size() == tasks_.size(), "dataset " + path, "has ", value_weights_.size(), " value_weights for ",
        tasks_.size(), " tasks; give one each");
  for (const float weight : value_weights_)
    check(weight >= 0 && std::isfinite(weight), "dataset " + path, "has the value weight ", weight,
          "; give finite numbers, none below 0");
  info_ = std::make_shared<const json>(std::move(info));
}

void Dataset::read_side(bool users) {
  const std::string path = dir_ + (users ? "/users.safetensors" : "/items.safetensors"), where = "dataset " + path;
  SafetensorsFile& file = users ? users_file_ : items_file_;
  const int64_t rows = users ? num_users_ : num_items_;
  const auto& columns = users ? user_columns_ : item_columns_;
  file = SafetensorsFile::open(path);
  const auto width = static_cast<int64_t>(columns.size());
  const float* features = file.data<float>("features", {rows, width});
  for (int64_t i = 0; i < rows * width; ++i)
    check(std::isfinite(features[i]), where, "row ", i / width, ": feature \"", columns[static_cast<size_t>(i % width)],
          "\" is ", features[i], "; every feature must be a finite number");
  const int64_t* offsets = file.data<int64_t>("id_offsets", {rows + 1});
  const uint8_t* bytes = file.data<uint8_t>("id_bytes", {-1});
  check_offsets(where, "id_offsets", offsets, rows, file.entry("id_bytes").elements());
  (users ? user_ids_ : item_ids_) = IdTable(offsets, bytes, rows, file.entry("id_bytes").elements());
  (users ? user_features_ : item_features_) = features;
  if (users) return;
  train_counts_ = file.data<int64_t>("train_counts", {rows});
  train_positives_ = file.data<int64_t>("train_positives", {rows});
  num_available_ = rows;
  if (!file.has("available")) return;
  available_ = file.data<uint8_t>("available", {rows});
  num_available_ = std::count_if(available_, available_ + rows, [](uint8_t a) { return a != 0; });
  check(num_available_ > 0, where, "has no item that is available; set some of \"available\" to 1, or leave it out");
}

void Dataset::read_history() {
  const std::string path = dir_ + "/history.safetensors", where = "dataset " + path;
  history_file_ = SafetensorsFile::open(path);
  history_offsets_ = history_file_.data<int64_t>("offsets", {num_users_ + 1});
  history_items_ = history_file_.data<int32_t>("items", {-1});
  const int64_t n = history_file_.entry("items").elements();
  history_times_ = history_file_.data<double>("times", {n});
  history_actions_ = history_file_.data<uint8_t>("actions", {n, num_actions()});
  check_offsets(where, "offsets", history_offsets_, num_users_, n);
  check_rows(where, "item", history_items_, n, num_items_);
}

void Dataset::read_split(Split s) {
  const std::string name(split_name(s)), path = dir_ + "/" + name + ".safetensors", where = "dataset " + path;
  const auto n = (*info_)["impressions"][name].get<int64_t>();
  check(s != Split::train || n > 0, "dataset " + dir_,
        "has no train interactions; an empty dataset cannot train anything");
  check(n >= 0, "dataset " + dir_ + "/dataset.json", "has ", n, " ", name, " impressions; make it again");
  if (n == 0) return;
  SafetensorsFile& file = split_files_[static_cast<size_t>(s)];
  Impressions& rows = splits_[static_cast<size_t>(s)];
  file = SafetensorsFile::open(path);
  rows.size = n;
  rows.user = file.data<int32_t>("user", {n});
  rows.item = file.data<int32_t>("item", {n});
  rows.history_end = file.data<int32_t>("history_end", {n});
  rows.position = file.data<int32_t>("position", {n});
  rows.time = file.data<double>("time", {n});
  rows.labels = file.data<float>("labels", {n, num_tasks()});
  if (file.has("ranker_scores")) rows.ranker_scores = file.data<float>("ranker_scores", {n, num_tasks()});
  if (s == Split::train)
    check(has_ranker_scores_ == (rows.ranker_scores != nullptr), where,
          "and dataset.json disagree on ranker_scores; make the dataset again");
  check_rows(where, "user", rows.user, n, num_users_);
  check_rows(where, "item", rows.item, n, num_items_);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t actions = history_offsets_[rows.user[i] + 1] - history_offsets_[rows.user[i]];
    check(rows.history_end[i] >= 0 && rows.history_end[i] <= actions, where, "row ", i, ": history_end ",
          rows.history_end[i], " is out of range, user row ", rows.user[i], " has ", actions, " actions");
    check(rows.position[i] >= -1, where, "row ", i, ": position ", rows.position[i],
          " is out of range; give 0 for the first slot, -1 where it is not known");
    check(std::isfinite(rows.time[i]), where, "row ", i, ": time is ", rows.time[i],
          "; every impression needs a finite one");
  }
  check_unit(where, "label", rows.labels, n, tasks_);
  if (rows.ranker_scores) check_unit(where, "ranker score", rows.ranker_scores, n, tasks_);
}

// ------------------------------------------------------------------------------------------------ derived

std::span<const int32_t> Dataset::user_actions(int64_t user) const {
  check(user >= 0 && user < num_users_, "dataset " + dir_, "user row ", user, " is out of range, there are ",
        num_users_, " users");
  return {history_items_ + history_offsets_[user],
          static_cast<size_t>(history_offsets_[user + 1] - history_offsets_[user])};
}

bool Dataset::later_than_train(Split s) const {
  const Impressions &train = split(Split::train), &rows = split(s);
  if (!has_times_ || rows.size == 0) return false;
  return *std::min_element(rows.time, rows.time + rows.size) >= *std::max_element(train.time, train.time + train.size);
}

bool Dataset::has_truth() const {
  std::error_code ignored;
  return fs::exists(dir_ + "/truth.safetensors", ignored);
}

namespace {

// Sorts pairs by user, then item, and drops repeats.
UserItems group(std::vector<std::pair<int32_t, int32_t>> pairs, int64_t users) {
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  UserItems out;
  out.offsets.assign(static_cast<size_t>(users) + 1, 0);
  out.items.reserve(pairs.size());
  for (const auto& [user, item] : pairs) {
    ++out.offsets[static_cast<size_t>(user) + 1];
    out.items.push_back(item);
  }
  for (size_t u = 0; u < static_cast<size_t>(users); ++u) out.offsets[u + 1] += out.offsets[u];
  return out;
}

}  // namespace

UserItems Dataset::seen_before(Split s) const {
  std::vector<std::pair<int32_t, int32_t>> pairs;
  for (size_t earlier = 0; earlier < static_cast<size_t>(s); ++earlier)
    for (int64_t i = 0; i < splits_[earlier].size; ++i)
      pairs.emplace_back(splits_[earlier].user[i], splits_[earlier].item[i]);
  return group(std::move(pairs), num_users_);
}

std::vector<int64_t> Dataset::train_actions() const {
  std::vector<int64_t> count(static_cast<size_t>(num_users()), 0);
  const Impressions& train = split(Split::train);
  for (int64_t i = 0; i < train.size; ++i)
    count[static_cast<size_t>(train.user[i])] += acted_on(train.labels + i * num_tasks(), num_tasks());
  return count;
}

UserItems Dataset::positives(Split s) const {
  const Impressions& rows = split(s);
  const int64_t t = num_tasks();
  std::vector<std::pair<int32_t, int32_t>> pairs;
  for (int64_t i = 0; i < rows.size; ++i)
    if (acted_on(rows.labels + i * t, t)) pairs.emplace_back(rows.user[i], rows.item[i]);
  return group(std::move(pairs), num_users_);
}

}  // namespace tt
