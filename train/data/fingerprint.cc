#include <twotower/models/bundle/fingerprint.h>
#include <twotower/tensor/error.h>
#include <twotower/train/data/fingerprint.h>

#include <nlohmann/json.hpp>

namespace tt {
namespace {

void add_ids(Fingerprint& print, const IdTable& ids) {
  print.add_number(ids.size());
  print.add_values(ids.offsets(), ids.size() + 1);
  print.add_values(ids.bytes(), ids.byte_count());
}

// Nothing where there are none: a log without pairs has the print that it had before there were any.
void add_pairs(Fingerprint& print, const RankerPairs& pairs) {
  if (pairs.size() == 0) return;
  print.add_number(pairs.size());
  print.add_values(pairs.user.data(), pairs.size()), print.add_values(pairs.item.data(), pairs.size());
  print.add_values(pairs.scores.data(), static_cast<int64_t>(pairs.scores.size()));
}

}  // namespace

std::string rows_fingerprint(const Dataset& data) {
  Fingerprint print;
  add_ids(print, data.user_ids()), add_ids(print, data.item_ids());
  for (const char* side : {"user_features", "item_features"}) print.add_text(data.info().at(side).dump());
  print.add_values(data.user_features(), data.num_users() * data.user_features_size());
  print.add_values(data.item_features(), data.num_items() * data.item_features_size());
  for (const std::string& name : data.tasks()) print.add_text(name);
  for (const std::string& name : data.actions()) print.add_text(name);
  return print.text();
}

std::string log_fingerprint(const Dataset& data) {
  Fingerprint print;
  const int64_t actions = data.history_offsets()[data.num_users()], tasks = data.num_tasks();
  print.add_values(data.history_offsets(), data.num_users() + 1);
  print.add_values(data.history_items(), actions);
  print.add_values(data.history_actions(), actions * data.num_actions());
  print.add_values(data.history_times(), actions);
  for (const Split split : {Split::train, Split::valid, Split::test}) {
    const Impressions& log = data.split(split);
    print.add_number(log.size);
    print.add_values(log.user, log.size), print.add_values(log.item, log.size);
    print.add_values(log.history_end, log.size), print.add_values(log.position, log.size);
    print.add_values(log.time, log.size), print.add_values(log.labels, log.size * tasks);
    if (log.ranker_scores) print.add_values(log.ranker_scores, log.size * tasks);
  }
  add_pairs(print, load_ranker_pairs(data));
  return print.text();
}

std::string pairs_fingerprint(const RankerPairs& pairs) {
  if (pairs.size() == 0) return "";
  Fingerprint print;
  add_pairs(print, pairs);
  return print.text();
}

void check_rows(const Dataset& data, const std::string& rows, const std::string& made_of_it) {
  check(rows_fingerprint(data) == rows, "dataset " + data.dir(),
        "its users, items or features, or their order, are not those that ", made_of_it,
        " was trained on, so its rows mean something else; give that dataset with --data, or train on this one");
}

}  // namespace tt
