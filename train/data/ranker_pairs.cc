#include <twotower/tensor/error.h>
#include <twotower/tensor/files/safetensors.h>
#include <twotower/tensor/text.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/data/delimited.h>
#include <twotower/train/data/ranker_pairs.h>

#include <algorithm>
#include <filesystem>
#include <numeric>

namespace tt {

namespace {

// Sorts by user, then item, and keeps the last of each pair.
void put_in_order(RankerPairs& pairs) {
  const size_t n = pairs.user.size(), tasks = n == 0 ? 0 : pairs.scores.size() / n;
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  const auto key = [&](size_t i) { return std::pair(pairs.user[i], pairs.item[i]); };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return key(a) < key(b); });
  RankerPairs out;
  for (size_t k = 0; k < n; ++k) {
    const size_t i = order[k];
    if (k + 1 < n && key(order[k + 1]) == key(i)) continue;  // said again later
    out.user.push_back(pairs.user[i]), out.item.push_back(pairs.item[i]);
    const float* scores = pairs.scores.data() + i * tasks;
    out.scores.insert(out.scores.end(), scores, scores + tasks);
  }
  pairs = std::move(out);
}

size_t column_of(const std::string& path, const std::vector<HeaderColumn>& header, const std::string& name,
                 const char* what) {
  std::vector<std::string> names;
  for (size_t c = 0; c < header.size(); ++c) {
    if (header[c].name == name) return c;
    names.push_back(header[c].name);
  }
  const std::string nearest = nearest_name(name, names);
  fail(at_line(path, 1), "the header has no column \"", name, "\" for ", what, "; ",
       nearest.empty() ? "it has " + column_list(header) : "did you mean \"" + nearest + "\"?");
}

}  // namespace

void add_ranker_pairs(RankerPairs& pairs, const RankerPairs& later) {
  pairs.user.insert(pairs.user.end(), later.user.begin(), later.user.end());
  pairs.item.insert(pairs.item.end(), later.item.begin(), later.item.end());
  pairs.scores.insert(pairs.scores.end(), later.scores.begin(), later.scores.end());
  put_in_order(pairs);
}

RankerPairs read_ranker_pairs(const std::string& csv, const Dataset& data) {
  return read_ranker_pairs(csv, data.user_ids(), data.item_ids(), data.tasks());
}

RankerPairs read_ranker_pairs(const std::string& csv, const IdTable& users, const IdTable& items,
                              const std::vector<std::string>& tasks) {
  RankerPairs pairs;
  size_t user_column = 0, item_column = 0;
  std::vector<size_t> score_columns;
  std::string stranger;  // the first id that the dataset does not have
  int64_t stranger_line = 0, strange_lines = 0;
  const auto on_header = [&](const std::vector<HeaderColumn>& header) {
    user_column = column_of(csv, header, "user", "the user's id");
    item_column = column_of(csv, header, "item", "the item's id");
    for (const std::string& task : tasks) score_columns.push_back(column_of(csv, header, task, "the ranker's score"));
  };
  const auto on_row = [&](int64_t line, const std::vector<std::string_view>& fields) {
    const std::string_view user = trim(fields[user_column]), item = trim(fields[item_column]);
    const auto user_row = users.find(user), item_row = items.find(item);
    if (!user_row || !item_row) {
      if (++strange_lines > 1) return;
      stranger = user_row ? "item \"" + std::string(item) + "\"" : "user \"" + std::string(user) + "\"";
      stranger_line = line;
      return;
    }
    pairs.user.push_back(static_cast<int32_t>(*user_row)), pairs.item.push_back(static_cast<int32_t>(*item_row));
    for (size_t t = 0; t < tasks.size(); ++t)
      pairs.scores.push_back(
          read_unit(csv, line, tasks[t], fields[score_columns[t]], "ranker scores are probabilities"));
  };
  read_table(csv, Dialect(), on_header, on_row);
  if (strange_lines > 0) {
    std::string more;
    if (strange_lines > 1)
      more = ", and " + std::to_string(strange_lines - 1) +
             (strange_lines == 2 ? " more line names" : " more lines name") +
             " a user or an item that it does not have";
    fail(at_line(csv, stranger_line), "the dataset has no ", stranger, more,
         "; leave such lines out, or give the dataset that the pairs were chosen from");
  }
  check(pairs.size() > 0, "import " + csv, "holds no pair; expected a line each below the header");
  put_in_order(pairs);
  return pairs;
}

void save_ranker_pairs(const std::string& path, const RankerPairs& pairs) {
  const int64_t n = pairs.size(), tasks = static_cast<int64_t>(pairs.scores.size()) / n;
  SafetensorsWriter writer;
  writer.add("user", pairs.user.data(), {n});
  writer.add("item", pairs.item.data(), {n});
  writer.add("scores", pairs.scores.data(), {n, tasks});
  writer.write(path);
}

RankerPairs load_ranker_pairs(const std::string& path, const Dataset& data) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  const int32_t* user = file.data<int32_t>("user", {-1});
  const int64_t n = file.entry("user").elements(), tasks = data.num_tasks();
  const int32_t* item = file.data<int32_t>("item", {n});
  const float* scores = file.data<float>("scores", {n, tasks});
  RankerPairs pairs{{user, user + n}, {item, item + n}, {scores, scores + n * tasks}};
  check_ranker_pairs("dataset " + path, pairs, data.num_users(), data.num_items(), data.tasks());
  put_in_order(pairs);
  return pairs;
}

RankerPairs load_ranker_pairs(const Dataset& data) {
  const std::string path = data.dir() + "/" + kRankerPairsFile;
  std::error_code ignored;
  return std::filesystem::exists(path, ignored) ? load_ranker_pairs(path, data) : RankerPairs();
}

void check_ranker_pairs(const std::string& where, const RankerPairs& pairs, int64_t users, int64_t items,
                        const std::vector<std::string>& tasks) {
  const size_t n = pairs.user.size(), t = tasks.size();
  check(pairs.item.size() == n && pairs.scores.size() == n * t, where, "ranker pairs: ", n, " users, ",
        pairs.item.size(), " items and ", pairs.scores.size(), " scores for ", t,
        " tasks; give each pair a user, an item and a score a task");
  for (size_t i = 0; i < n; ++i) {
    check(pairs.user[i] >= 0 && pairs.user[i] < users, where, "ranker pair ", i, ": user ", pairs.user[i],
          " is out of range, there are ", users, " users; was it written for another dataset?");
    check(pairs.item[i] >= 0 && pairs.item[i] < items, where, "ranker pair ", i, ": item ", pairs.item[i],
          " is out of range, there are ", items, " items; was it written for another dataset?");
    for (size_t task = 0; task < t; ++task) {
      const float score = pairs.scores[i * t + task];
      check(score >= 0 && score <= 1, where, "ranker pair ", i, ": the score of \"", tasks[task], "\" is ", score,
            ", outside [0, 1]; ranker scores are probabilities");
    }
  }
}

}  // namespace tt
