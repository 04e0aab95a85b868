#include <twotower/tensor/error.h>
#include <twotower/train/data/delimited.h>
#include <twotower/train/import/id_map.h>
#include <twotower/train/import/lists.h>
#include <twotower/train/import/split.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <unordered_map>
#include <unordered_set>

namespace tt {

namespace {

constexpr int64_t kStrays = 200;  // one in so many ids may be damage

// The ids of the users or of the items, and which of them are no whole numbers.
class Ids {
 public:
  explicit Ids(const char* kind) : kind_(kind) {}

  int32_t row_of(std::string_view id, const std::string& path, int64_t line) {
    const int64_t before = map_.size();
    const int32_t row = map_.row_of(id);
    if (map_.size() > before && id.find_first_not_of("0123456789") != std::string_view::npos && ++texts_ == 1)
      first_ = id, path_ = path, line_ = line;
    return row;
  }

  // Error, or a note, where numbers and texts are mixed.
  void judge(std::vector<std::string>& notes) const {
    const int64_t numbers = map_.size() - texts_;
    if (texts_ == 0 || numbers == 0) return;
    check(!(texts_ == 1 && numbers > 1) && texts_ * kStrays > numbers, at_line(path_, line_), kind_, " \"", first_,
          "\" is not a number, and all but ", texts_, " of the ", map_.size(), " ", kind_,
          "s are; mend the line, or import pairs with csv, which takes any text as an id");
    notes.push_back(path_ + ": ids are taken as text: " + std::to_string(texts_) + " of " +
                    std::to_string(map_.size()) + " " + kind_ + "s are not numbers, the first \"" + first_ +
                    "\" on line " + std::to_string(line_));
  }

  const std::vector<std::string>& all() const { return map_.ids(); }

 private:
  const char* kind_;
  IdMap map_;
  int64_t texts_ = 0, line_ = 0;
  std::string first_, path_;
};

void check_no_columns(const char* format, const ImportOptions& o) {
  check(o.labels.empty() && o.ranker.empty() && o.columns.empty() && !o.first_position, "import", format,
        " has no columns; leave --label, --ranker, --columns and --first-position out");
  check(o.user.empty() && o.item.empty(), "import", format,
        " takes no feature files; leave --user and --item out, or use csv");
}

struct ListReader {
  bool repeats;  // whether an item may come twice in a line; otherwise later ones are left out, with a note
  std::vector<std::string>& notes;
  Ids users{"user"}, items{"item"};

  // A row with label 1 for each item; time is the place in the line. A user on two lines is refused.
  InteractionColumns read(const std::string& path);
};

InteractionColumns ListReader::read(const std::string& path) {
  std::error_code ignored;
  check(!std::filesystem::is_directory(path, ignored), "import " + path, "is a folder; give a file");
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("import " + path, "cannot be opened: ", std::strerror(errno), "; check the path");
  InteractionColumns rows;
  std::unordered_map<int32_t, int64_t> first_line;
  std::unordered_set<int32_t> in_line;
  std::string line;
  int64_t number = 0, repeated = 0;
  while (std::getline(in, line)) {
    if (++number == 1 && line.rfind("\xef\xbb\xbf", 0) == 0) line.erase(0, 3);
    check_text(path, number, line);
    int32_t user = -1;
    double place = 0;
    in_line.clear();
    for (size_t begin = 0; (begin = line.find_first_not_of(" \t\r", begin)) != std::string::npos;) {
      const size_t end = std::min(line.find_first_of(" \t\r", begin), line.size());
      const std::string_view id = std::string_view(line).substr(begin, end - begin);
      begin = end;
      if (user < 0) {
        user = users.row_of(id, path, number);
        const auto [known, fresh] = first_line.emplace(user, number);
        check(fresh, at_line(path, number), "user \"", id, "\" is there again, first on line ", known->second,
              "; keep one line a user");
        continue;
      }
      const int32_t item = items.row_of(id, path, number);
      if (!repeats && !in_line.insert(item).second) {
        ++repeated;
        continue;
      }
      rows.user.push_back(user);
      rows.item.push_back(item);
      rows.time.push_back(place++);
      rows.labels.push_back(1);
    }
  }
  check(in.eof(), "import " + path, "cannot be read to its end; check that it is a file");
  check(rows.size() > 0, "import " + path,
        "holds no interactions; a line is \"user item item ...\", separated by spaces or tabs");
  if (repeated)
    notes.push_back(path + ": left out " + std::to_string(repeated) + " items that repeat in a user's line");
  return rows;
}

void finish(Imported& out, const ListReader& reader, const std::string& format, const std::string& path) {
  reader.users.judge(out.notes);
  reader.items.judge(out.notes);
  out.content.user_ids = reader.users.all();
  out.content.item_ids = reader.items.all();
  out.content.source = format + " " + path;
  out.content.has_times = false;  // places in a line are no common time
}

}  // namespace

Imported import_lists(const ImportOptions& o) {
  check(!o.train.empty(), "import", "lists needs --train FILE");
  check(o.valid.empty() || !o.hold_out, "import", "--hold-out contradicts --valid; leave one of them out");
  check_no_columns("lists", o);
  const bool files = !o.valid.empty() || !o.test.empty();
  const SplitRule rule = parse_split(!o.split.empty() ? o.split : files ? "given" : "random:0.8", o.hold_out);
  check(!files || rule.kind == SplitRule::Kind::given, "import", "--split ", o.split,
        " contradicts --valid and --test; leave one of them out");
  Imported out;
  DatasetContent& content = out.content;
  content.tasks = {"action"};
  ListReader reader{false, out.notes};
  content.train = reader.read(o.train);
  if (!o.valid.empty()) content.valid = reader.read(o.valid);
  if (!o.test.empty()) content.test = reader.read(o.test);
  split_log(content, rule, false, o.seed, o.train);
  finish(out, reader, "lists", o.train);
  return out;
}

Imported import_sequences(const ImportOptions& o) {
  check(!o.train.empty(), "import", "sequences needs --train FILE");
  check(o.valid.empty() && o.test.empty(), "import",
        "sequences reads one file and splits it; leave --valid and --test out, or use lists");
  check_no_columns("sequences", o);
  const SplitRule rule = parse_split(o.split.empty() ? "leave-last-out" : o.split, o.hold_out);
  check(rule.kind != SplitRule::Kind::time, "import",
        "places in a line are no common time, so sequences cannot be split by time; use leave-last-out or "
        "random:0.8");
  Imported out;
  out.content.tasks = {"action"};
  ListReader reader{true, out.notes};
  out.content.train = reader.read(o.train);
  split_log(out.content, rule, true, o.seed, o.train);
  finish(out, reader, "sequences", o.train);
  return out;
}

}  // namespace tt
