// What the RecBole and the csv importer have in common.
#include <twotower/tensor/error.h>
#include <twotower/train/import/interactions.h>
#include <twotower/train/import/side_table.h>
#include <twotower/train/import/split.h>

#include <algorithm>
#include <cmath>

namespace tt {

namespace {

// "click=p_click" for each task, in the order of the tasks.
std::vector<std::string> ranker_columns(const std::vector<std::string>& texts, const std::vector<std::string>& tasks) {
  if (texts.empty()) return {};
  std::vector<std::string> columns(tasks.size());
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    check(equals != std::string::npos && equals + 1 < text.size(), "import --ranker", "\"", text,
          "\" is not TASK=COLUMN, as in click=p_click");
    const auto task = std::find(tasks.begin(), tasks.end(), text.substr(0, equals));
    check(task != tasks.end(), "import --ranker", "\"", text.substr(0, equals),
          "\" is not a task; add it with --label, or use the name of one");
    columns[static_cast<size_t>(task - tasks.begin())] = text.substr(equals + 1);
  }
  for (size_t t = 0; t < tasks.size(); ++t)
    check(!columns[t].empty(), "import --ranker", "task \"", tasks[t], "\" has no score; give one for each task");
  return columns;
}

void add_features(const std::string& path, const Dialect& dialect, const std::string& role, const std::string& column,
                  int64_t max_categories, IdMap& ids, FeatureMatrix& matrix, std::vector<std::string>& notes) {
  if (path.empty()) return;
  const auto columns = read_side_table(path, dialect, role, column, ids, notes);
  matrix = assemble_features(columns, ids.size(), {max_categories});
  for (const FeatureInfo& info : matrix.info)
    if (!info.left_out.empty()) notes.push_back(path + ": column \"" + info.name + "\" left out, " + info.left_out);
}

}  // namespace

Imported import_tables(const std::string& format, const Dialect& dialect, const ImportOptions& o) {
  Imported out;
  DatasetContent& content = out.content;
  check(!o.train.empty(), "import", format, " needs ", format == "recbole" ? "--inter FILE" : "--train FILE");
  check(o.valid.empty() || !o.hold_out, "import", "--hold-out contradicts --valid; leave one of them out");
  const std::vector<LabelRule> labels = parse_labels(o.labels);
  for (const LabelRule& rule : labels) content.tasks.push_back(rule.task);
  if (labels.empty()) content.tasks = {"action"};
  const ColumnRoles roles = parse_roles(o.columns);
  const bool files = !o.valid.empty() || !o.test.empty();
  check(!files || o.split.empty() || o.split == "given", "import", "--split ", o.split,
        " contradicts --valid and --test; leave one of them out");
  parse_split(o.split.empty() ? "given" : o.split, o.hold_out);  // before the long work

  IdMap users, items;
  InteractionReader reader{
      dialect, roles, labels,   ranker_columns(o.ranker, content.tasks), o.first_position.value_or(0),
      users,   items, out.notes};
  auto train = reader.read(o.train);
  content.train = std::move(train.rows);
  content.has_times = train.has_time;
  check(!o.first_position || !content.train.position.empty(), "import " + o.train,
        "has no position column for --first-position; name it with --columns position=NAME");
  const auto read_other = [&](const std::string& path, InteractionColumns& rows) {
    if (path.empty()) return;
    auto other = reader.read(path);
    check(other.has_time == train.has_time, "import " + path, other.has_time ? "has times but " : "has no times but ",
          o.train, other.has_time ? " has none" : " has them", "; give both files the same columns");
    rows = std::move(other.rows);
  };
  read_other(o.valid, content.valid);
  read_other(o.test, content.test);
  const std::string chosen = !o.split.empty() ? o.split : files ? "given" : train.has_time ? "time:0.8" : "random:0.8";
  split_log(content, parse_split(chosen, o.hold_out), train.has_time, o.seed, o.train);

  add_features(o.user, dialect, "user", roles.user, o.max_categories, users, content.user_features, out.notes);
  add_features(o.item, dialect, "item", roles.item, o.max_categories, items, content.item_features, out.notes);
  content.user_ids = users.ids();
  content.item_ids = items.ids();
  content.source = format + " " + o.train;
  return out;
}

}  // namespace tt
