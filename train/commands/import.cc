#include <twotower/tensor/error.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/commands/shared/data_summary.h>
#include <twotower/train/commands/shared/options.h>
#include <twotower/train/data/dataset_writer.h>
#include <twotower/train/import/import.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

namespace tt {

namespace {

struct ImportArguments {
  ImportOptions options;
  std::string format, inter, out, delimiter = ",";
  bool json = false, quiet = false;
};

void run_import(ImportArguments& a) {
  ImportOptions& o = a.options;
  if (!a.inter.empty()) {
    check(o.train.empty(), "import", "--inter and --train name the same thing; leave one out");
    o.train = a.inter;
  }
  if (a.delimiter == "\\t" || a.delimiter == "tab") a.delimiter = "\t";
  check(a.delimiter.size() == 1 && a.delimiter != "\"" && a.delimiter != "\n", "import --delimiter", "\"", a.delimiter,
        "\" is not one character; give for example , or ; or tab");
  o.delimiter = a.delimiter[0];
  check_dataset_target(a.out);
  if (!a.quiet) std::fprintf(stderr, "reading %s\n", o.train.c_str());
  const Imported imported = import_data(a.format, o);
  if (!a.quiet) {
    for (const std::string& note : imported.notes) std::fprintf(stderr, "note: %s\n", note.c_str());
    std::fprintf(stderr, "writing %s\n", a.out.c_str());
  }
  write_dataset(a.out, imported.content);
  print_dataset_summary(a.out, a.json);
}

}  // namespace

void register_import(CLI::App& app) {
  auto a = std::make_shared<ImportArguments>();
  ImportOptions& o = a->options;
  CLI::App* command = app.add_subcommand("import", "Reads other people's data");
  command->footer(
      "Example: twotower import recbole --inter ml-100k.inter --user ml-100k.user --item ml-100k.item \\\n"
      "           --label 'like=rating>=4' --split time:0.8 --out D\n"
      "         twotower import csv --train ratings.csv --columns user=userId,item=movieId,time=timestamp "
      "--out D\n"
      "         twotower import lists --train train.txt --test test.txt --out D");
  command->add_option("format", a->format, "recbole | csv | lists | sequences")->required();
  command->add_option("--out", a->out, "Dataset folder to write")->required();
  command->add_option("--inter", a->inter, "RecBole .inter file");
  command->add_option("--train", o.train, "Interactions to train on (csv, lists, sequences)");
  command->add_option("--valid", o.valid, "Interactions to validate on (csv, lists)");
  command->add_option("--test", o.test, "Interactions to test on (csv, lists)");
  command->add_option("--user", o.user, "User features (recbole, csv)");
  command->add_option("--item", o.item, "Item features (recbole, csv)");
  command->add_option("--label", o.labels, "TASK=COLUMN>=NUMBER, or TASK=COLUMN; repeat for more tasks")
      ->allow_extra_args(false);
  command->add_option("--ranker", o.ranker, "TASK=COLUMN with the main ranker's probability; one for each task")
      ->allow_extra_args(false);
  command
      ->add_option(
          "--ranker-pairs", o.ranker_pairs,
          "A csv of pairs that the main ranker was asked about: user, item and a score a task; may be repeated, "
          "of a pair given twice the last score holds")
      ->allow_extra_args(false);
  command->add_option("--columns", o.columns, "Roles of columns: user=userId,item=movieId,time=ts,position=slot");
  command->add_option("--first-position", o.first_position, "What the log calls its first slot (default: 0)")
      ->check(whole_number(0, 1000000));
  command->add_option("--delimiter", a->delimiter, "One character, or tab (csv)")->capture_default_str();
  command->add_option("--split", o.split,
                      "given | time:F | random:F | leave-last-out (default: given where --valid or --test is, else "
                      "time:0.8, or random:0.8 without times; sequences: leave-last-out)");
  command->add_option("--hold-out", o.hold_out,
                      "Share of train to validate on (default: 0.1 of time and random splits, 0 of given ones)");
  command->add_option("--max-categories", o.max_categories, "Leave out feature columns with more distinct values")
      ->capture_default_str()
      ->check(whole_number(0, 1000000000));
  add_seed(*command, o.seed, "Random seed of the split");
  command->add_flag("--json", a->json, "Print one JSON object");
  command->add_flag("--quiet", a->quiet, "No progress and no notes");
  command->callback([a] { run_import(*a); });
}

}  // namespace tt
