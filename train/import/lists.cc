#include <twotower/tensor/error.h>
#include <twotower/train/import/delimited.h>
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

void read_lists(const std::string& path, bool repeats, IdMap& users, IdMap& items, InteractionColumns& rows,
                std::vector<std::string>& notes) {
  std::error_code ignored;
  check(!std::filesystem::is_directory(path, ignored), "import " + path, "is a folder; give a file");
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("import " + path, "cannot be opened: ", std::strerror(errno), "; check the path");
  std::unordered_map<int32_t, int64_t> first_line;
  std::unordered_set<int32_t> in_line;
  std::string line;
  int64_t number = 0, repeated = 0;
  const int64_t before = rows.size();
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
        user = users.row_of(id);
        const auto [known, fresh] = first_line.emplace(user, number);
        check(fresh, at_line(path, number), "user \"", id, "\" is there again, first on line ", known->second,
              "; keep one line a user");
        continue;
      }
      const int32_t item = items.row_of(id);
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
  check(rows.size() > before, "import " + path,
        "holds no interactions; a line is \"user item item ...\", separated by spaces or tabs");
  if (repeated)
    notes.push_back(path + ": left out " + std::to_string(repeated) + " items that repeat in a user's line");
}

Imported import_lists(const ImportOptions& o) {
  check(!o.train.empty(), "import", "lists needs --train FILE");
  check(o.valid.empty() || !o.hold_out, "import", "--hold-out contradicts --valid; leave one of them out");
  check(o.labels.empty() && o.ranker.empty() && o.columns.empty(), "import",
        "lists has no columns; leave --label, --ranker and --columns out");
  Imported out;
  DatasetContent& content = out.content;
  content.tasks = {"action"};
  IdMap users, items;
  read_lists(o.train, false, users, items, content.train, out.notes);
  if (!o.valid.empty()) read_lists(o.valid, false, users, items, content.valid, out.notes);
  if (!o.test.empty()) read_lists(o.test, false, users, items, content.test, out.notes);
  const bool files = !o.valid.empty() || !o.test.empty();
  const SplitRule rule = parse_split(!o.split.empty() ? o.split : files ? "given" : "random:0.8", o.hold_out);
  check(!files || rule.kind == SplitRule::Kind::given, "import", "--split ", o.split,
        " contradicts --valid and --test; leave one of them out");
  split_log(content, rule, false, o.seed, o.train);
  content.user_ids = users.ids();
  content.item_ids = items.ids();
  content.source = "lists " + o.train;
  return out;
}

}  // namespace tt
