// twotower score: a simulated world's own main ranker answers for pairs of users and items, as a company's would.

#include <twotower/tensor/error.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/tensor/text.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/data/delimited.h>
#include <twotower/train/fit/ranker_loop.h>
#include <twotower/train/simulate/truth.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>

namespace tt {
namespace {

struct Options {
  std::string data, pairs, out;
};

// Where the file has a column of that name; -1: it has none.
int64_t find_column(const std::vector<HeaderColumn>& header, const std::string& name) {
  const auto at = std::find_if(header.begin(), header.end(), [&](const HeaderColumn& c) { return c.name == name; });
  return at == header.end() ? -1 : at - header.begin();
}

int64_t row_of(const IdTable& ids, const char* what, std::string_view id, const std::string& where) {
  const auto row = ids.find(id);
  check(row.has_value(), where, "there is no ", what, " \"", id,
        "\" in the dataset; give an id as it stands there, such as \"", ids.text(0), "\"");
  return *row;
}

void run_score(const Options& o) {
  const Dataset data = Dataset::open(o.data);
  const Truth truth = Truth::load(data);
  const double trained = end_of_training(data);
  std::string text = "user,item";
  for (const std::string& task : data.tasks()) text += "," + csv_field(task);
  text += "\n";
  int64_t user = -1, item = -1, time = -1, pairs = 0;
  read_table(
      o.pairs, {},
      [&](const std::vector<HeaderColumn>& header) {
        user = find_column(header, "user"), item = find_column(header, "item"), time = find_column(header, "time");
        check(user >= 0 && item >= 0, at_line(o.pairs, 1), "has the columns ", column_list(header),
              "; give the header user,item and, if you like, time");
      },
      [&](int64_t line, const std::vector<std::string_view>& fields) {
        const auto field = [&](int64_t column) { return fields[static_cast<size_t>(column)]; };
        const int64_t u = row_of(data.user_ids(), "user", field(user), at_line(o.pairs, line));
        const int64_t i = row_of(data.item_ids(), "item", field(item), at_line(o.pairs, line));
        const double when = time < 0 ? trained : read_number(o.pairs, line, "time", field(time));
        text += csv_field(field(user)) + "," + csv_field(field(item));
        for (int64_t t = 0; t < data.num_tasks(); ++t) {
          char number[32];
          std::snprintf(number, sizeof(number), ",%.9g", truth.ranker_probability(u, when, i, t));
          text += number;
        }
        text += "\n";
        ++pairs;
      });
  check(pairs > 0, "import " + o.pairs, "holds no pair below its header; give a pair a line");
  if (o.out.empty()) {
    std::cout << text;
    return;
  }
  write_file_atomically(o.out, text);
  std::cerr << "wrote the ranker's scores of " << pairs << " pairs to " << o.out << "\n";
}

}  // namespace

void register_score(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("score", "A simulated world's main ranker scores pairs of users and items");
  command->add_option("--data", o->data, "A dataset that `twotower simulate` made")->required();
  command
      ->add_option("--pairs", o->pairs,
                   "Comma-separated text with the header user,item: ids, a pair a line. A column time asks as of then, "
                   "in the unit of the log; without it, as of the end of the training log")
      ->required();
  command->add_option("--out", o->out, "File for user,item and a probability a label (default: standard output)");
  command->footer("Example:\n  twotower score --data D --pairs pairs.csv --out scored.csv");
  command->callback([o] { run_score(*o); });
}

}  // namespace tt
