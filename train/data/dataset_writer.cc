#include <twotower/tensor/error.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/tensor/files/safetensors.h>
#include <twotower/train/data/dataset_writer.h>
#include <twotower/train/data/history.h>
#include <twotower/train/data/positives.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <unordered_set>

namespace tt {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

constexpr const char* kKinds[] = {"numeric", "categorical", "multi"};

void check_ids(const std::string& where, const char* what, const std::vector<std::string>& ids) {
  check(!ids.empty(), where, "has no ", what, "s; an empty dataset cannot train anything");
  check(ids.size() < (size_t{1} << 31), where, "has ", ids.size(), " ", what, "s, more than 2^31 - 1");
  std::unordered_set<std::string_view> known;
  known.reserve(ids.size());
  for (const std::string& id : ids)
    check(known.insert(id).second, where, what, " id \"", id, "\" appears twice; give each ", what, " one row");
}

void check_features(const std::string& where, const char* what, const FeatureMatrix& matrix, size_t rows) {
  if (matrix.width() == 0) return;
  check(static_cast<size_t>(matrix.rows) == rows && matrix.values.size() == rows * matrix.columns.size(), where, what,
        " features have ", matrix.rows, " rows, expected ", rows);
  for (size_t i = 0; i < matrix.values.size(); ++i)
    check(std::isfinite(matrix.values[i]), where, what, " row ", i / matrix.columns.size(), ", feature \"",
          matrix.columns[i % matrix.columns.size()], "\" is ", matrix.values[i],
          "; give a finite number, or leave the field empty for the mean");
}

void check_unit(const std::string& where, const char* split, const char* what, const std::vector<float>& values,
                const std::vector<std::string>& tasks) {
  for (size_t i = 0; i < values.size(); ++i)
    check(values[i] >= 0 && values[i] <= 1, where, split, " row ", i / tasks.size(), ": ", what, " \"",
          tasks[i % tasks.size()], "\" is ", values[i], ", outside [0, 1]; scale it, or make it from a condition");
}

void check_split(const std::string& where, const char* split, const DatasetContent& content,
                 const InteractionColumns& rows) {
  const size_t n = rows.user.size(), t = content.tasks.size();
  check(rows.item.size() == n && rows.time.size() == n && rows.labels.size() == n * t &&
            (rows.position.empty() || rows.position.size() == n) &&
            (rows.ranker_scores.empty() || rows.ranker_scores.size() == n * t),
        where, split, ": the columns differ in length; give one entry a row");
  const auto users = static_cast<int64_t>(content.user_ids.size()),
             items = static_cast<int64_t>(content.item_ids.size());
  for (size_t i = 0; i < n; ++i) {
    check(rows.user[i] >= 0 && rows.user[i] < users, where, split, " row ", i, ": user row ", rows.user[i],
          " is out of range, there are ", users, " users");
    check(rows.item[i] >= 0 && rows.item[i] < items, where, split, " row ", i, ": item row ", rows.item[i],
          " is out of range, there are ", items, " items");
    check(std::isfinite(rows.time[i]), where, split, " row ", i, ": time is ", rows.time[i],
          "; every interaction needs one");
    check(rows.position.empty() || rows.position[i] >= -1, where, split, " row ", i, ": position is ", rows.position[i],
          "; give 0 for the first slot, -1 where it is not known");
  }
  check_unit(where, split, "label", rows.labels, content.tasks);
  check_unit(where, split, "ranker score", rows.ranker_scores, content.tasks);
}

ordered_json describe(const FeatureMatrix& matrix) {
  ordered_json sources = ordered_json::array();
  for (const FeatureInfo& info : matrix.info) {
    ordered_json one{{"name", info.name},
                     {"kind", kKinds[static_cast<int>(info.kind)]},
                     {"first", info.first},
                     {"width", info.width},
                     {"missing", info.missing}};
    if (info.kind == FeatureColumn::Kind::numeric)
      one["mean"] = info.mean, one["stddev"] = info.stddev;
    else
      one["vocabulary"] = info.vocabulary;
    if (!info.left_out.empty()) one["left_out"] = info.left_out;
    sources.push_back(std::move(one));
  }
  return {{"columns", matrix.columns}, {"sources", sources}};
}

// A model always has a features tower; without features it sees one constant.
FeatureMatrix or_constant(const FeatureMatrix& matrix, size_t rows) {
  if (matrix.width() > 0) return matrix;
  FeatureMatrix constant;
  constant.rows = static_cast<int64_t>(rows);
  constant.columns = {"constant"};
  constant.values.assign(rows, 1.0f);
  constant.info = matrix.info;
  return constant;
}

struct Counts {
  std::vector<int64_t> shown, positive;
};

void write_side(const std::string& path, const std::vector<std::string>& ids, const FeatureMatrix& features,
                const Counts* counts, const std::vector<uint8_t>& available) {
  const auto rows = static_cast<int64_t>(ids.size());
  std::vector<int64_t> offsets{0};
  std::string bytes;
  for (const std::string& id : ids) bytes += id, offsets.push_back(static_cast<int64_t>(bytes.size()));
  SafetensorsWriter writer;
  writer.add("features", features.values.data(), {rows, features.width()});
  writer.add("id_offsets", offsets.data(), {rows + 1});
  writer.add("id_bytes", reinterpret_cast<const uint8_t*>(bytes.data()), {static_cast<int64_t>(bytes.size())});
  for (const FeatureInfo& info : features.info)
    if (!info.codes.empty()) writer.add("codes." + info.name, info.codes.data(), {rows});
  if (counts) {
    writer.add("train_counts", counts->shown.data(), {rows});
    writer.add("train_positives", counts->positive.data(), {rows});
  }
  if (!available.empty()) writer.add("available", available.data(), {rows});
  writer.write(path);
}

void write_split(const std::string& path, const InteractionColumns& rows, int64_t tasks,
                 const std::vector<int32_t>& history_end) {
  const int64_t n = rows.size();
  const std::vector<int32_t> nowhere(rows.position.empty() ? static_cast<size_t>(n) : 0, -1);
  SafetensorsWriter writer;
  writer.add("user", rows.user.data(), {n});
  writer.add("item", rows.item.data(), {n});
  writer.add("history_end", history_end.data(), {n});
  writer.add("position", rows.position.empty() ? nowhere.data() : rows.position.data(), {n});
  writer.add("time", rows.time.data(), {n});
  writer.add("labels", rows.labels.data(), {n, tasks});
  if (!rows.ranker_scores.empty()) writer.add("ranker_scores", rows.ranker_scores.data(), {n, tasks});
  writer.write(path);
}

void write_history(const std::string& path, const History& history, int64_t actions) {
  const auto n = static_cast<int64_t>(history.items.size());
  SafetensorsWriter writer;
  writer.add("offsets", history.offsets.data(), {static_cast<int64_t>(history.offsets.size())});
  writer.add("items", history.items.data(), {n});
  writer.add("times", history.times.data(), {n});
  writer.add("actions", history.actions.data(), {n, actions});
  writer.write(path);
}

Counts count_items(const DatasetContent& content) {
  Counts counts;
  counts.shown.assign(content.item_ids.size(), 0);
  counts.positive = counts.shown;
  const size_t tasks = content.tasks.size();
  for (size_t i = 0; i < content.train.item.size(); ++i) {
    const auto item = static_cast<size_t>(content.train.item[i]);
    ++counts.shown[item];
    counts.positive[item] += acted_on(content.train.labels.data() + i * tasks, static_cast<int64_t>(tasks));
  }
  return counts;
}

bool known_positions(const InteractionColumns& rows) {
  return std::any_of(rows.position.begin(), rows.position.end(), [](int32_t position) { return position >= 0; });
}

std::string without_slash(std::string dir) {
  while (dir.size() > 1 && dir.back() == '/') dir.pop_back();
  return dir;
}

bool is_dataset(const std::string& dir) {
  std::error_code ignored;
  if (!fs::is_regular_file(dir + "/dataset.json", ignored)) return false;
  const auto info = nlohmann::json::parse(read_whole_file(dir + "/dataset.json"), nullptr, false);
  return info.is_object() && info.value("format", nlohmann::json()) == "twotower dataset";
}

// What lies in the folder beside a dataset's own files, or "".
std::string stranger_in(const std::string& dir) {
  constexpr std::string_view own[] = {"dataset.json",        "users.safetensors", "items.safetensors",
                                      "history.safetensors", "train.safetensors", "valid.safetensors",
                                      "test.safetensors",    "truth.safetensors", kRankerPairsFile};
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(dir, ignored)) {
    const std::string name = entry.path().filename().string();
    if (std::find(std::begin(own), std::end(own), name) == std::end(own)) return name;
  }
  return "";
}

void write_files(const std::string& dir, const DatasetContent& content) {
  const auto tasks = static_cast<int64_t>(content.tasks.size());
  const FeatureMatrix users = or_constant(content.user_features, content.user_ids.size());
  const FeatureMatrix items = or_constant(content.item_features, content.item_ids.size());
  const Counts counts = count_items(content);
  const History history = build_history(content);
  write_side(dir + "/users.safetensors", content.user_ids, users, nullptr, {});
  write_side(dir + "/items.safetensors", content.item_ids, items, &counts, content.item_available);
  write_history(dir + "/history.safetensors", history, tasks);
  write_split(dir + "/train.safetensors", content.train, tasks, history.train_end);
  if (content.valid.size()) write_split(dir + "/valid.safetensors", content.valid, tasks, history.valid_end);
  if (content.test.size()) write_split(dir + "/test.safetensors", content.test, tasks, history.test_end);

  if (content.ranker_pairs.size()) save_ranker_pairs(dir + "/" + kRankerPairsFile, content.ranker_pairs);

  const std::vector<float> ones(content.tasks.size(), 1.0f);
  const ordered_json info{
      {"format", "twotower dataset"},
      {"version", 1},
      {"source", content.source},
      {"protocol", content.protocol},
      {"users", content.user_ids.size()},
      {"items", content.item_ids.size()},
      {"tasks", content.tasks},
      {"value_weights", content.value_weights.empty() ? ones : content.value_weights},
      {"actions", content.tasks},
      {"impressions",
       {{"train", content.train.size()}, {"valid", content.valid.size()}, {"test", content.test.size()}}},
      {"history_actions", history.items.size()},
      {"times", content.has_times},
      {"positions", known_positions(content.train)},
      {"ranker_scores", !content.train.ranker_scores.empty()},
      {"user_features", describe(users)},
      {"item_features", describe(items)}};
  write_file_atomically(dir + "/dataset.json",
                        info.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  if (content.also_write) content.also_write(dir);
}

}  // namespace

void check_dataset_target(const std::string& given) {
  const std::string dir = without_slash(given), where = "dataset " + dir;
  check(!dir.empty(), "dataset", "the output folder has no name; give --out DIR");
  const std::string name = fs::path(dir).filename().string();
  check(name != "." && name != "..", where, "has no name of its own under which it could be renamed; give --out DIR");
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(dir, ignored))) return;
  check(fs::is_directory(dir, ignored), where, "exists and is not a folder; choose another --out");
  check(fs::is_empty(dir, ignored) || is_dataset(dir), where,
        "exists and is not a dataset, so it is not replaced; choose another --out or remove it first");
  const std::string stranger = stranger_in(dir);
  check(stranger.empty(), where, "is a dataset that would be replaced, but its folder holds \"", stranger,
        "\", too, which would be lost; move that away, or choose another --out");
}

void write_dataset(const std::string& given, const DatasetContent& content) {
  const std::string dir = without_slash(given), where = "dataset " + dir;
  check_dataset_target(dir);
  check(!content.tasks.empty(), where, "has no task; give at least one label");
  check(content.value_weights.empty() || content.value_weights.size() == content.tasks.size(), where, "has ",
        content.value_weights.size(), " value weights for ", content.tasks.size(), " tasks");
  for (const float weight : content.value_weights)
    check(weight >= 0 && std::isfinite(weight), where, "has the value weight ", weight,
          "; give finite numbers, none below 0");
  check_ids(where, "user", content.user_ids);
  check_ids(where, "item", content.item_ids);
  check(content.train.size() > 0, where, "has no train interactions; an empty dataset cannot train anything");
  check_features(where, "user", content.user_features, content.user_ids.size());
  check_features(where, "item", content.item_features, content.item_ids.size());
  check(content.item_available.empty() || content.item_available.size() == content.item_ids.size(), where, "says of ",
        content.item_available.size(), " items whether they are available, there are ", content.item_ids.size());
  check_split(where, "train", content, content.train);
  check_split(where, "valid", content, content.valid);
  check_split(where, "test", content, content.test);
  check_ranker_pairs(where, content.ranker_pairs, static_cast<int64_t>(content.user_ids.size()),
                     static_cast<int64_t>(content.item_ids.size()), content.tasks);

  struct Cleanup {
    std::string folder;
    ~Cleanup() {
      std::error_code ignored;
      if (!folder.empty()) fs::remove_all(folder, ignored);
    }
  };
  try {
    const fs::path parent = fs::path(dir).parent_path();
    if (!parent.empty()) fs::create_directories(parent);
    const std::string suffix = "-" + std::to_string(getpid());
    Cleanup temporary{dir + ".tmp" + suffix}, old{""};
    fs::remove_all(temporary.folder);
    fs::create_directory(temporary.folder);
    try {
      write_files(temporary.folder, content);
    } catch (const Error& error) {  // a full disk, say: name the folder that was asked for
      std::string text = error.what();
      if (const size_t at = text.find(temporary.folder); at != std::string::npos)
        text.replace(at, temporary.folder.size(), dir);
      throw Error(text);
    }
    if (fs::exists(dir)) {
      fs::rename(dir, dir + ".old" + suffix);
      old.folder = dir + ".old" + suffix;
    }
    fs::rename(temporary.folder, dir);
    temporary.folder.clear();
  } catch (const fs::filesystem_error& error) {
    fail(where, "cannot be written: ", error.code().message(), "; choose another --out");
  }
}

}  // namespace tt
