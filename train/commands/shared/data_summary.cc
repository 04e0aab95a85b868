#include <twotower/train/commands/shared/data_summary.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/data/ranker_pairs.h>
#include <twotower/train/evaluate/text_table.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

namespace tt {

namespace {

// Mean label of each task over a split.
std::vector<double> label_rates(const Dataset& data, Split split) {
  const Impressions& rows = data.split(split);
  const int64_t tasks = data.num_tasks();
  std::vector<double> rates(static_cast<size_t>(tasks), 0.0);
  for (int64_t i = 0; i < rows.size; ++i)
    for (int64_t t = 0; t < tasks; ++t)
      rates[static_cast<size_t>(t)] += static_cast<double>(rows.labels[i * tasks + t]);
  for (double& rate : rates) rate /= static_cast<double>(rows.size);
  return rates;
}

}  // namespace

void print_dataset_summary(const std::string& dir, bool json) {
  const Dataset data = Dataset::open(dir);
  constexpr Split splits[] = {Split::train, Split::valid, Split::test};
  int64_t total = 0;
  for (const Split s : splits) total += data.split(s).size;
  const double density =
      static_cast<double>(total) / (static_cast<double>(data.num_users()) * static_cast<double>(data.num_items()));
  const auto actions = static_cast<double>(data.history_offsets()[data.num_users()]);
  const std::vector<double> rates = label_rates(data, Split::train);
  const int64_t pairs = load_ranker_pairs(data).size();

  if (json) {
    nlohmann::ordered_json out{{"data", dir}, {"users", data.num_users()}, {"items", data.num_items()}};
    for (const Split s : splits) out["impressions"][std::string(split_name(s))] = data.split(s).size;
    out["density"] = density;
    out["history_actions"] = static_cast<int64_t>(actions);
    out["user_features"] = data.user_columns();
    out["item_features"] = data.item_columns();
    for (size_t t = 0; t < rates.size(); ++t) out["label_rates"][data.tasks()[t]] = rates[t];
    out["positions"] = data.has_positions();
    out["ranker_scores"] = data.has_ranker_scores();
    out["ranker_pairs"] = pairs;
    out["protocol"] = data.protocol();
    std::printf("%s\n", out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return;
  }
  TextTable table{{"dataset " + dir, ""}, {}};
  const auto row = [&](const std::string& name, const std::string& value) { table.rows.push_back({name, value}); };
  row("users", std::to_string(data.num_users()));
  row("items", std::to_string(data.num_items()));
  for (const Split s : splits) row(std::string(split_name(s)) + " impressions", std::to_string(data.split(s).size));
  row("density", decimals(100 * density, 2) + "%");
  row("history actions a user", decimals(actions / static_cast<double>(data.num_users()), 1));
  row("user features", std::to_string(data.user_features_size()));
  row("item features", std::to_string(data.item_features_size()));
  for (size_t t = 0; t < rates.size(); ++t) row("mean label " + data.tasks()[t], decimals(rates[t], 4));
  row("positions", data.has_positions() ? "yes" : "no");
  row("ranker scores", data.has_ranker_scores() ? "yes" : "no");
  if (pairs > 0) row("pairs the ranker was asked about", std::to_string(pairs));
  table.print(std::cout);
  std::cout << data.protocol() << "\nnext: twotower train --data " << dir << " --out RUN\n" << std::flush;
}

}  // namespace tt
