// What import does with files that could mean two things: it says so, or refuses.

#include <doctest/doctest.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/data/dataset_writer.h>
#include <twotower/train/import/import.h>

#include "tests/train/fixtures.h"

using namespace tt;

TEST_CASE("import: an impression passed over twice is two, an action written twice is one, with times or without") {
  TempFolder folder;
  ImportOptions o;
  o.labels = {"click=clicked"};
  o.split = "given";
  // Days for times: a was shown x three times on day 1, and clicked once; the click stands there twice.
  o.train = folder.file("days.csv",
                        "user,item,time,clicked\na,x,1,0\na,x,1,0\na,x,1,1\na,x,1,1\na,x,2,1\na,x,1,0.5\na,x,1,1\n");
  Imported got = import_data("csv", o);
  CHECK(got.content.train.labels == std::vector<float>{0, 0, 1, 1, 0.5f});
  CHECK(got.content.train.time == std::vector<double>{1, 1, 1, 2, 1});
  CHECK(got.notes[0] == o.train + ": left out 2 rows that repeat another");
  o.train = folder.file("bare.csv", "user,item,clicked\na,x,0\na,x,1\na,x,0\nb,x,1\na,x,1\n");
  got = import_data("csv", o);
  CHECK(got.content.train.labels == std::vector<float>{0, 1, 0, 1});
  CHECK(got.notes[0] == o.train + ": left out 1 rows that repeat another");
  // Another slot or another score is another row.
  o.ranker = {"click=p"};
  o.train =
      folder.file("more.csv", "user,item,clicked,position,p\na,x,1,0,0.5\na,x,1,1,0.5\na,x,1,1,0.4\na,x,1,1,0.5\n");
  CHECK(import_data("csv", o).content.train.position == std::vector<int32_t>{0, 1, 1});
}

TEST_CASE("import: only a column called position is a position unasked, and slots may count from 1") {
  TempFolder folder;
  ImportOptions o;
  o.split = "given";
  o.train = folder.file("rank.csv", "user,item,rank\na,x,1\na,y,2\na,z,-1\n");
  Imported got = import_data("csv", o);
  CHECK(got.content.train.position.empty());
  const auto says = [&] { return error_of([&] { import_data("csv", o); }, o.train); };
  o.first_position = 1;
  CHECK(says() == "[import FILE] has no position column for --first-position; name it with --columns position=NAME");
  o.columns = "position=rank";
  got = import_data("csv", o);
  CHECK(got.content.train.position == std::vector<int32_t>{0, 1, -1});  // -1: not known, whatever slots count from
  o.first_position = 2;
  CHECK(says() ==
        "[import FILE:2] column \"rank\": 1 comes before --first-position 2; give what the log calls its first slot");
  o.first_position = {};
  got = import_data("csv", o);
  CHECK(got.content.train.position == std::vector<int32_t>{1, 2, -1});
  CHECK(got.notes.back() ==
        "the smallest position is 1, and slot 0 is never trained; if the log counts from 1, import with "
        "--first-position 1");
  o.first_position = 0;
  CHECK(import_data("csv", o).notes.back() == "no row is in the first slot, 0; the smallest position is 1");
  o.first_position = {};
  o.columns = "";
  o.train = folder.file("none.csv", "user,item,position\na,x,-1\na,y,-1\n");
  got = import_data("csv", o);
  CHECK(got.notes.back() == "no position is known, so nothing can be debiased by position");
  write_dataset(folder.path() + "/d", got.content);
  CHECK_FALSE(Dataset::open(folder.path() + "/d").has_positions());
}

TEST_CASE("import lists: a stray text among numbers is refused, many are ids") {
  TempFolder folder;
  ImportOptions o;
  o.split = "given";
  const auto says = [&](const std::string& text, const std::string& format = "lists") {
    o.train = folder.file("l.txt", text);
    return error_of([&] { import_data(format, o); }, o.train);
  };
  CHECK(says("0 1 x 3\n") ==
        "[import FILE:1] item \"x\" is not a number, and all but 1 of the 3 items are; mend the line, or import pairs "
        "with csv, which takes any text as an id");
  CHECK(says("0 1 2 3\n1 4\nuser 5\n", "sequences").find("FILE:3] user \"user\" is not a number") != std::string::npos);
  std::string many = "0";
  for (int i = 0; i < 500; ++i) many += " " + std::to_string(i);
  CHECK(says(many + " 7.5 1e3\n").find("all but 2 of the 502 items are") != std::string::npos);
  CHECK(says("0 1 x y 3\n").empty());
  CHECK(import_data("lists", o).notes[0] ==
        o.train + ": ids are taken as text: 2 of 4 items are not numbers, the first \"x\" on line 1");
  CHECK(says("ann a b\nbob b c\n").empty());
  CHECK(import_data("lists", o).notes.size() == 1);  // that valid is empty
}

TEST_CASE("import: an empty valid split, and parts without any action, are told") {
  TempFolder folder;
  ImportOptions o;
  o.labels = {"click=clicked"};
  const std::string empty =
      "the valid split is empty: training will not stop early and keeps its last epoch; --hold-out, --valid or another "
      "--split gives it rows";
  o.train = folder.file("two.csv", "user,item,time,clicked\na,x,1,1\na,y,1,1\nb,x,2,1\n");
  CHECK(import_data("csv", o).notes == std::vector<std::string>{empty});
  o.train = folder.file("three.csv", "user,item,time,clicked\na,x,1,1\na,y,2,0\nb,x,3,1\n");
  CHECK(
      import_data("csv", o).notes ==
      std::vector<std::string>{"the valid split holds no action (no label above 0), so nothing can be measured on it"});
  o.train = folder.file("none.csv", "user,item,time,clicked\na,x,1,0\na,y,2,1\nb,x,3,1\n");
  CHECK(import_data("csv", o).notes ==
        std::vector<std::string>{
            "the train split holds no action (no label above 0), so there is nothing to learn from"});
}

TEST_CASE("import: options that would be ignored or contradict each other are refused") {
  TempFolder folder;
  ImportOptions o;
  o.train = folder.file("a.csv", "user,item,who\n1,2,3\n");
  o.columns = "user=user,user=who";
  const auto says = [&](const char* format) { return error_of([&] { import_data(format, o); }, o.train); };
  CHECK(says("csv") == "[import --columns] the role \"user\" is given twice, as user and as who; keep one");
  o.columns = "user=who,item=who";
  CHECK(says("csv") == "[import FILE:1] the column \"who\" is both the user and the item; name two with --columns");
  o.columns = "";
  o.user = o.train;
  CHECK(says("lists") == "[import] lists takes no feature files; leave --user and --item out, or use csv");
  o.user = "";
  o.first_position = 1;
  CHECK(says("sequences") ==
        "[import] sequences has no columns; leave --label, --ranker, --columns and --first-position out");
}

TEST_CASE("import: features that no mean can be taken of are refused, not left out as constant") {
  TempFolder folder;
  std::string log = "user,item\n", users = "user,income\n";
  for (int u = 0; u < 20; ++u) {
    log += "u" + std::to_string(u) + ",x\n";
    users += "u" + std::to_string(u) + "," + std::to_string(u) + "e306\n";
  }
  ImportOptions o;
  o.train = folder.file("log.csv", log);
  o.user = folder.file("users.csv", users);
  CHECK(error_of([&] { import_data("csv", o); }) ==
        "[features] column \"income\" holds numbers too large to take a mean and a spread of; scale it, or take "
        "logarithms");
}
