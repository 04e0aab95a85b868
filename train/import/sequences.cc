// A line a user, its items in time order: the place in the line is the time.
#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>
#include <twotower/train/import/lists.h>
#include <twotower/train/import/split.h>

namespace tt {

Imported import_sequences(const ImportOptions& o) {
  check(!o.train.empty(), "import", "sequences needs --train FILE");
  check(o.valid.empty() && o.test.empty(), "import",
        "sequences reads one file and splits it; leave --valid and --test out, or use lists");
  check(o.labels.empty() && o.ranker.empty() && o.columns.empty(), "import",
        "sequences has no columns; leave --label, --ranker and --columns out");
  const SplitRule rule = parse_split(o.split.empty() ? "leave-last-out" : o.split, o.hold_out);
  check(rule.kind != SplitRule::Kind::time, "import",
        "places in a line are no common time, so sequences cannot be split by time; use leave-last-out or "
        "random:0.8");
  Imported out;
  out.content.tasks = {"action"};
  IdMap users, items;
  read_lists(o.train, true, users, items, out.content.train, out.notes);
  split_log(out.content, rule, true, o.seed, o.train);
  out.content.user_ids = users.ids();
  out.content.item_ids = items.ids();
  out.content.source = "sequences " + o.train;
  return out;
}

Imported import_data(const std::string& format, const ImportOptions& options) {
  if (format == "recbole") return import_recbole(options);
  if (format == "csv") return import_csv(options);
  if (format == "lists") return import_lists(options);
  if (format == "sequences") return import_sequences(options);
  const std::string near = nearest_name(format, std::vector<std::string>{"recbole", "csv", "lists", "sequences"});
  fail("import", "\"", format, "\" is not a format; ",
       near.empty() ? "choose recbole, csv, lists or sequences" : "did you mean \"" + near + "\"?");
}

}  // namespace tt
