#include <twotower/models/bundle/id_table.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>
#include <twotower/train/data/positives.h>
#include <twotower/train/import/interactions.h>
#include <twotower/train/import/lists.h>

#include <algorithm>
#include <limits>

namespace tt {

namespace {

// What of the result a person would not expect, whatever the format.
void add_notes(const ImportOptions& o, Imported& imported) {
  const DatasetContent& content = imported.content;
  std::vector<std::string>& notes = imported.notes;
  const auto tasks = static_cast<int64_t>(content.tasks.size());
  const auto any_action = [&](const InteractionColumns& rows) {
    for (int64_t i = 0; i < rows.size(); ++i)
      if (acted_on(rows.labels.data() + i * tasks, tasks)) return true;
    return false;
  };
  if (content.valid.size() == 0)
    notes.push_back(
        "the valid split is empty: training will not stop early and keeps its last epoch; --hold-out, --valid or "
        "another --split gives it rows");
  else if (!any_action(content.valid))
    notes.push_back("the valid split holds no action (no label above 0), so nothing can be measured on it");
  if (!any_action(content.train))
    notes.push_back("the train split holds no action (no label above 0), so there is nothing to learn from");

  if (content.train.position.empty()) return;
  int32_t first = std::numeric_limits<int32_t>::max();
  for (const InteractionColumns* rows : {&content.train, &content.valid, &content.test})
    for (const int32_t position : rows->position)
      if (position >= 0) first = std::min(first, position);
  if (first == std::numeric_limits<int32_t>::max())
    notes.push_back("no position is known, so nothing can be debiased by position");
  else if (first > 0 && !o.first_position)
    notes.push_back("the smallest position is " + std::to_string(first) +
                    ", and slot 0 is never trained; if the log counts from " + std::to_string(first) +
                    ", import with --first-position " + std::to_string(first));
  else if (first > 0)
    notes.push_back("no row is in the first slot, " + std::to_string(*o.first_position) +
                    "; the smallest position is " + std::to_string(first + *o.first_position));
}

Imported read(const std::string& format, const ImportOptions& o) {
  // RecBole's atomic files: tab-separated, a header of NAME:TYPE, quotes are plain characters.
  if (format == "recbole") return import_tables(format, {'\t', false, true}, o);
  // Any delimited text with a header; quoted fields as in RFC 4180.
  if (format == "csv") return import_tables(format, {o.delimiter, true, false}, o);
  if (format == "lists") return import_lists(o);
  if (format == "sequences") return import_sequences(o);
  const std::string near = nearest_name(format, std::vector<std::string>{"recbole", "csv", "lists", "sequences"});
  fail("import", "\"", format, "\" is not a format; ",
       near.empty() ? "choose recbole, csv, lists or sequences" : "did you mean \"" + near + "\"?");
}

void add_pairs(const std::vector<std::string>& files, DatasetContent& content) {
  if (files.empty()) return;
  const OwnedIds users({content.user_ids.begin(), content.user_ids.end()}),
      items({content.item_ids.begin(), content.item_ids.end()});
  const IdTable user_table = users.table(), item_table = items.table();
  for (const std::string& file : files)
    add_ranker_pairs(content.ranker_pairs, read_ranker_pairs(file, user_table, item_table, content.tasks));
}

}  // namespace

Imported import_data(const std::string& format, const ImportOptions& options) {
  Imported imported = read(format, options);
  add_pairs(options.ranker_pairs, imported.content);
  add_notes(options, imported);
  return imported;
}

}  // namespace tt
