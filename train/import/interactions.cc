#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>
#include <twotower/train/data/positives.h>
#include <twotower/train/import/interactions.h>

#include <algorithm>
#include <tuple>

namespace tt {

namespace {

std::vector<std::string> aliases(const std::string& role) {
  if (role == "user") return {"user_id", "userId", "user", "uid", "UserID"};
  if (role == "item") return {"item_id", "itemId", "item", "movieId", "iid", "ItemID"};
  if (role == "time") return {"timestamp", "time", "ts", "Timestamp"};
  return {"position"};  // a "rank" may be anything
}

// Leaves out what is written twice: a row that was acted on and equals an earlier one in user, item, time (where there
// is one), position, labels and scores. Rows without an action stay: within a day, or a second, an item may be shown
// twice and be passed over twice, and that is two impressions.
int64_t drop_repeated(InteractionColumns& rows, int64_t tasks, bool has_time) {
  std::vector<int64_t> order;
  for (int64_t i = 0; i < rows.size(); ++i)
    if (acted_on(rows.labels.data() + i * tasks, tasks)) order.push_back(i);
  const auto key = [&](int64_t row) {
    const auto i = static_cast<size_t>(row);
    return std::tuple(rows.user[i], rows.item[i], has_time ? rows.time[i] : 0.0,
                      rows.position.empty() ? -1 : rows.position[i]);
  };
  // As of two texts: below, at or above 0.
  const auto compare_values = [&](const std::vector<float>& values, int64_t a, int64_t b) {
    for (int64_t t = 0; !values.empty() && t < tasks; ++t) {
      const float x = values[static_cast<size_t>(a * tasks + t)], y = values[static_cast<size_t>(b * tasks + t)];
      if (x != y) return x < y ? -1 : 1;
    }
    return 0;
  };
  const auto compare = [&](int64_t a, int64_t b) {
    if (key(a) != key(b)) return key(a) < key(b) ? -1 : 1;
    const int labels = compare_values(rows.labels, a, b);
    return labels != 0 ? labels : compare_values(rows.ranker_scores, a, b);
  };
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return compare(a, b) < 0; });
  std::vector<bool> repeated(static_cast<size_t>(rows.size()), false);
  for (size_t k = 1; k < order.size(); ++k)
    repeated[static_cast<size_t>(order[k])] = compare(order[k - 1], order[k]) == 0;
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < rows.size(); ++i)
    if (!repeated[static_cast<size_t>(i)]) kept.push_back(i);
  const int64_t dropped = rows.size() - static_cast<int64_t>(kept.size());
  if (dropped > 0) rows = select_rows(rows, kept, tasks);
  return dropped;
}

}  // namespace

ColumnRoles parse_roles(const std::string& columns) {
  ColumnRoles roles;
  for (size_t begin = 0; begin < columns.size();) {
    const size_t comma = std::min(columns.find(',', begin), columns.size());
    const std::string part = columns.substr(begin, comma - begin);
    const size_t equals = part.find('=');
    check(equals != std::string::npos && equals + 1 < part.size(), "import --columns", "\"", part,
          "\" is not ROLE=COLUMN; write for example user=userId,item=movieId,time=ts,position=slot");
    const std::string role(trim(part.substr(0, equals))), name(trim(part.substr(equals + 1)));
    std::string* slot = role == "user"       ? &roles.user
                        : role == "item"     ? &roles.item
                        : role == "time"     ? &roles.time
                        : role == "position" ? &roles.position
                                             : nullptr;
    check(slot, "import --columns", "\"", role, "\" is not a role; choose user, item, time or position");
    check(slot->empty(), "import --columns", "the role \"", role, "\" is given twice, as ", *slot, " and as ", name,
          "; keep one");
    *slot = name;
    begin = comma + 1;
  }
  return roles;
}

int find_column(const std::string& path, const std::vector<HeaderColumn>& header, const std::string& role,
                const std::string& wanted, bool required) {
  const std::vector<std::string> names = wanted.empty() ? aliases(role) : std::vector<std::string>{wanted};
  for (const std::string& name : names)
    for (size_t c = 0; c < header.size(); ++c)
      if (header[c].name == name) return static_cast<int>(c);
  if (!required && wanted.empty()) return -1;
  const bool uncut = header.size() == 1 && header[0].name.find_first_of(",;|\t") != std::string::npos;
  check(!uncut, at_line(path, 1), "the header is a single column, \"", header[0].name,
        "\"; say what stands between columns with --delimiter");
  fail(at_line(path, 1), "the header has no column \"", names[0], "\"; it has ", column_list(header), "; name the ",
       role, " column with --columns ", role, "=NAME");
}

InteractionReader::Result InteractionReader::read(const std::string& path) {
  Result result;
  InteractionColumns& rows = result.rows;
  int user = -1, item = -1, time = -1, position = -1;
  std::vector<size_t> label_columns, ranker_columns;
  std::vector<std::string> names;
  const auto column_of = [&](const std::vector<HeaderColumn>& header, const std::string& name, const char* what) {
    for (size_t c = 0; c < header.size(); ++c)
      if (header[c].name == name) return c;
    fail(at_line(path, 1), "the header has no column \"", name, "\" for the ", what, "; it has ", column_list(header));
  };
  const auto on_header = [&](const std::vector<HeaderColumn>& header) {
    for (const HeaderColumn& column : header) names.push_back(column.name);
    user = find_column(path, header, "user", roles.user, true);
    item = find_column(path, header, "item", roles.item, true);
    time = find_column(path, header, "time", roles.time, false);
    position = find_column(path, header, "position", roles.position, false);
    check(user != item, at_line(path, 1), "the column \"", names[static_cast<size_t>(user)],
          "\" is both the user and the item; name two with --columns");
    for (const LabelRule& rule : labels) label_columns.push_back(column_of(header, rule.column, "label"));
    for (const std::string& name : ranker) ranker_columns.push_back(column_of(header, name, "ranker score"));
  };
  const auto on_row = [&](int64_t line, const std::vector<std::string_view>& fields) {
    const auto id = [&](int column, IdMap& map) {
      const std::string_view text = trim(fields[static_cast<size_t>(column)]);
      check(!text.empty(), at_line(path, line), "column \"", names[static_cast<size_t>(column)],
            "\" is empty; every interaction needs a user and an item");
      return map.row_of(text);
    };
    rows.user.push_back(id(user, users));
    rows.item.push_back(id(item, items));
    const auto number = [&](int column) {
      const auto c = static_cast<size_t>(column);
      return read_number(path, line, names[c], fields[c]);
    };
    rows.time.push_back(time >= 0 ? number(time) : static_cast<double>(rows.time.size()));
    if (position >= 0) {
      const double slot = number(position);
      check(slot >= -1 && slot < 1e9 && slot == static_cast<double>(static_cast<int32_t>(slot)), at_line(path, line),
            "column \"", names[static_cast<size_t>(position)], "\": ", slot,
            " is not a position; give 0 for the first slot, -1 where it is not known");
      const bool known = slot != -1;
      check(!known || slot >= static_cast<double>(first_position), at_line(path, line), "column \"",
            names[static_cast<size_t>(position)], "\": ", slot, " comes before --first-position ", first_position,
            "; give what the log calls its first slot");
      rows.position.push_back(known ? static_cast<int32_t>(slot) - static_cast<int32_t>(first_position) : -1);
    }
    if (labels.empty()) rows.labels.push_back(1);
    for (size_t t = 0; t < labels.size(); ++t) {
      const std::string_view text = fields[label_columns[t]];
      const LabelRule& rule = labels[t];
      if (rule.textual)
        rows.labels.push_back(rule.holds(text));
      else if (!rule.op.empty())
        rows.labels.push_back(rule.holds(read_number(path, line, rule.column, text)));
      else
        rows.labels.push_back(read_unit(path, line, rule.column, text,
                                        "make the label from a condition, as in --label 'like=rating>=4'"));
    }
    for (const size_t c : ranker_columns)
      rows.ranker_scores.push_back(read_unit(path, line, names[c], fields[c], "ranker scores are probabilities"));
  };
  read_table(path, dialect, on_header, on_row);
  result.has_time = time >= 0;
  const int64_t repeated = drop_repeated(rows, std::max<int64_t>(1, static_cast<int64_t>(labels.size())), time >= 0);
  if (repeated) notes.push_back(path + ": left out " + std::to_string(repeated) + " rows that repeat another");
  return result;
}

}  // namespace tt
