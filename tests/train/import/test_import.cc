#include <doctest/doctest.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/import/import.h>

#include <cstdlib>
#include <set>

#include "tests/train/fixtures.h"

using namespace tt;

namespace {

const char* kInter =
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "ann\tA\t5\t1\nann\tB\t2\t2\nbob\tA\t4\t3\nbob\tC\t5\t4\nann\tC\t4\t5\n"
    "cem\tB\t1\t6\ncem\tA\t4\t7\nann\tD\t3\t8\nbob\tD\t5\t9\ncem\tD\t5\t10\n";

ImportOptions recbole(const std::string& inter) {
  ImportOptions o;
  o.train = inter;
  o.labels = {"like=rating>=4"};
  return o;
}

int column(const FeatureMatrix& matrix, const std::string& name) {
  for (size_t c = 0; c < matrix.columns.size(); ++c)
    if (matrix.columns[c] == name) return static_cast<int>(c);
  return -1;
}

float at(const FeatureMatrix& matrix, int64_t row, const std::string& name) {
  return matrix.values[static_cast<size_t>(row * matrix.width() + column(matrix, name))];
}

// What import says to a RecBole .inter file or a csv file of this text.
std::string recbole_says(const std::string& text) {
  TempFolder folder;
  const std::string path = folder.file("x.inter", text);
  return error_of([&] { import_data("recbole", recbole(path)); }, path);
}
std::string csv_says(const std::string& text, const std::vector<std::string>& labels = {}) {
  TempFolder folder;
  ImportOptions o;
  o.train = folder.file("ratings.csv", text);
  o.labels = labels;
  o.split = "given";
  return error_of([&] { import_data("csv", o); }, o.train);
}

}  // namespace

TEST_CASE("import recbole: interactions, labels and a split by time") {
  TempFolder folder;
  const Imported got = import_data("recbole", recbole(folder.file("x.inter", kInter)));
  const DatasetContent& c = got.content;
  CHECK(c.user_ids == std::vector<std::string>{"ann", "bob", "cem"});
  CHECK(c.item_ids == std::vector<std::string>{"A", "B", "C", "D"});
  CHECK(c.tasks == std::vector<std::string>{"like"});
  CHECK(c.train.time == std::vector<double>{1, 2, 3, 4, 5, 6, 7});
  CHECK(c.train.labels == std::vector<float>{1, 0, 1, 1, 1, 0, 1});
  CHECK(c.valid.time == std::vector<double>{8});
  CHECK(c.test.time == std::vector<double>{9, 10});
  CHECK(c.protocol == "by time: the first 80% of the log is for training (its last 10% is valid), the rest is test");
  write_dataset(folder.path() + "/d", c);
  const Dataset data = Dataset::open(folder.path() + "/d");
  CHECK(data.item_ids().find("D") == 3);
  CHECK_FALSE(data.has_positions());
}

TEST_CASE("import: line ends, byte order mark, blank lines and a missing last newline change nothing") {
  TempFolder folder;
  std::string windows = "\xef\xbb\xbf";
  for (const char* c = kInter; *c; ++c) windows += *c == '\n' ? std::string("\r\n\r\n") : std::string(1, *c);
  while (windows.back() == '\n' || windows.back() == '\r') windows.pop_back();
  const DatasetContent a = import_data("recbole", recbole(folder.file("a.inter", kInter))).content;
  const DatasetContent b = import_data("recbole", recbole(folder.file("b.inter", windows))).content;
  CHECK(a.user_ids == b.user_ids);
  CHECK(a.train.labels == b.train.labels);
  CHECK(a.test.time == b.test.time);
}

TEST_CASE("import recbole: features by type") {
  TempFolder folder;
  ImportOptions o = recbole(folder.file("x.inter", kInter));
  o.user = folder.file("x.user",
                       "user_id:token\tage:token\tgender:token\tscore:float\n"
                       "bob\t20\tM\t2\nann\t30\tF\t4\neve\t20\tF\t\n");
  o.item = folder.file("x.item",
                       "item_id:token\tclass:token_seq\tvector:float_seq\n"
                       "A\tDrama War\t1 2\nB\tDrama\t3 4\nC\t\t5 6\nD\tWar\t7 8\n");
  const Imported got = import_data("recbole", o);
  const FeatureMatrix &users = got.content.user_features, &items = got.content.item_features;
  CHECK(got.content.user_ids == std::vector<std::string>{"ann", "bob", "cem", "eve"});  // eve: never seen, kept
  CHECK(users.columns == std::vector<std::string>{"age=20", "age=30", "gender=F", "gender=M", "score"});
  CHECK(at(users, 0, "age=30") == 1);
  CHECK(at(users, 2, "gender=F") == 0);  // cem has no line: all zeros
  CHECK(at(users, 0, "score") == doctest::Approx(1));
  CHECK(at(users, 1, "score") == doctest::Approx(-1));
  CHECK(at(users, 3, "score") == 0);  // an empty field is the mean
  CHECK(items.columns == std::vector<std::string>{"class=Drama", "class=War", "vector[0]", "vector[1]"});
  CHECK(at(items, 0, "class=Drama") + at(items, 0, "class=War") == 2);
  CHECK(at(items, 2, "class=Drama") + at(items, 2, "class=War") == 0);
  CHECK(users.info[2].mean == 3);
  CHECK(users.info[2].missing == 2);
  REQUIRE(got.notes.size() == 3);
  CHECK(got.notes[0] == o.user + ": 1 users without any interaction are kept");
  CHECK(got.notes[1] == o.user + ": 1 users have no line; their features are missing");
  CHECK(got.notes[2] == "the valid split holds no action (no label above 0), so nothing can be measured on it");
}

TEST_CASE("import: many numbers are numeric, many categories are left out of the matrix") {
  TempFolder folder;
  std::string inter = "user_id:token\titem_id:token\n", user = "user_id:token\tage:token\tzip:token\n";
  for (int u = 0; u < 70; ++u) {
    inter += "u" + std::to_string(u) + "\tA\n";
    user += "u" + std::to_string(u) + "\t" + std::to_string(u) + "\tz" + std::to_string(u) + "\n";
  }
  ImportOptions o;
  o.train = folder.file("x.inter", inter);
  o.user = folder.file("x.user", user);
  o.split = "random:0.8";
  const Imported got = import_data("recbole", o);
  CHECK(got.content.user_features.columns == std::vector<std::string>{"age"});
  CHECK(got.content.user_features.info[0].mean == doctest::Approx(34.5));
  CHECK(got.content.user_features.info[1].left_out == "70 distinct values, more than 64");
  CHECK(got.content.user_features.info[1].codes[7] >= 0);
  CHECK(got.notes.back() == o.user + ": column \"zip\" left out, 70 distinct values, more than 64");
}

TEST_CASE("import: a stray text in a column of numbers is missing, unless the header promises numbers") {
  TempFolder folder;
  std::string inter = "user_id:token\titem_id:token\n", item = "item_id:token\tyear:token\n";
  for (int i = 0; i < 300; ++i) {
    inter += "u\t" + std::to_string(i) + "\n";
    item += std::to_string(i) + "\t" + (i == 7 ? "unknown" : std::to_string(1900 + i % 50)) + "\n";
  }
  ImportOptions o;
  o.train = folder.file("x.inter", inter);
  o.item = folder.file("x.item", item);
  const Imported got = import_data("recbole", o);
  CHECK(got.content.item_features.columns == std::vector<std::string>{"year"});
  CHECK(got.content.item_features.info[0].missing == 1);
  CHECK(got.notes == std::vector<std::string>{o.item + ": column \"year\" is numeric; 1 values that are no numbers "
                                                       "count as missing, the first \"unknown\" on line 9"});
  item.replace(item.find("year:token"), 10, "year:float");
  folder.file("x.item", item);
  CHECK(error_of([&] { import_data("recbole", o); }, o.item) ==
        "[import FILE:9] column \"year\": \"unknown\" is not a number; give a finite number or remove the "
        "line");
}

TEST_CASE("import csv: named columns, quotes, positions, several labels and ranker scores") {
  TempFolder folder;
  ImportOptions o;
  o.train = folder.file("log.csv",
                        "who;what;when;slot;clicked;event;p1;p2\n"
                        "\"a;b\";x;1;0;1;buy;0.5;0.25\n\"say \"\"hi\"\"\";y;2;1;0.5;view;0.75;0\n");
  o.test = folder.file("test.csv", "who;what;when;slot;clicked;event;p1;p2\n\"a;b\";y;3;0;1;view;1;1\n");
  o.columns = "user=who,item=what,time=when,position=slot";
  o.labels = {"click=clicked", "buy=event==buy"};
  o.ranker = {"buy=p2", "click=p1"};
  o.delimiter = ';';
  o.item = folder.file("items.csv", "item;genres\nx;Drama|War\ny;War\n");
  o.columns += "";
  const auto wrong = error_of([&] { import_data("csv", o); }, o.item);
  CHECK(wrong ==
        "[import FILE:1] the header has no column \"what\"; it has item, genres; name the item column with "
        "--columns item=NAME");
  o.item = folder.file("items.csv", "what;genres\nx;Drama|War\ny;War\n");
  const DatasetContent c = import_data("csv", o).content;
  CHECK(c.user_ids == std::vector<std::string>{"a;b", "say \"hi\""});
  CHECK(c.tasks == std::vector<std::string>{"click", "buy"});
  CHECK(c.train.labels == std::vector<float>{1, 1, 0.5f, 0});
  CHECK(c.train.ranker_scores == std::vector<float>{0.5f, 0.25f, 0.75f, 0});
  CHECK(c.train.position == std::vector<int32_t>{0, 1});
  CHECK(c.test.size() == 1);
  CHECK(c.valid.size() == 0);
  CHECK(c.protocol == "split as given by the files");
  CHECK(c.item_features.columns == std::vector<std::string>{"genres=Drama", "genres=War"});
}

TEST_CASE("import csv: a quoted field over two lines keeps line numbers right, repeated rows are left out") {
  TempFolder folder;
  ImportOptions o;
  o.train = folder.file("log.csv", "user,item,time\n\"a\nb\",x,1\nc,x,2\nc,x,2\nc,y,2\n");
  o.split = "given";
  const Imported got = import_data("csv", o);
  CHECK(got.content.user_ids[0] == "a\nb");
  CHECK(got.content.train.size() == 3);
  CHECK(got.notes[0] == o.train + ": left out 1 rows that repeat another");
  CHECK(csv_says("user,item,time\n\"a\nb\",x,1\nc,x,two\n") ==
        "[import FILE:4] column \"time\": \"two\" is not a number; give a finite number or remove the line");
}

TEST_CASE("import lists: the files' split, history in the order of the line") {
  TempFolder folder;
  ImportOptions o;
  o.train = folder.file("train.txt", "0 5 3 5\n1 3\n2\n\n");
  o.test = folder.file("test.txt", "0 9\n1 5");
  const Imported got = import_data("lists", o);
  const DatasetContent& c = got.content;
  CHECK(c.user_ids == std::vector<std::string>{"0", "1", "2"});
  CHECK(c.item_ids == std::vector<std::string>{"5", "3", "9"});
  CHECK(c.train.size() == 3);
  CHECK(got.notes[0] == o.train + ": left out 1 items that repeat in a user's line");
  write_dataset(folder.path() + "/d", c);
  const Dataset data = Dataset::open(folder.path() + "/d");
  CHECK(data.split(Split::train).history_end[1] == 1);  // the second item of a line sees the first
  CHECK(data.split(Split::test).history_end[0] == 2);   // a test item sees the whole train line
  CHECK(data.split(Split::valid).size == 0);
  o.hold_out = 0.4;
  CHECK(import_data("lists", o).content.valid.size() == 1);
}

TEST_CASE("import sequences: leave-last-out") {
  TempFolder folder;
  ImportOptions o;
  o.train = folder.file("s.txt", "ann a b a c\nbob a b\n");
  const DatasetContent c = import_data("sequences", o).content;
  CHECK(c.train.item == std::vector<int32_t>{0, 1, 0, 1});  // bob has too few to leave any out
  CHECK(c.valid.item == std::vector<int32_t>{0});
  CHECK(c.test.item == std::vector<int32_t>{2});
  write_dataset(folder.path() + "/d", c);
  CHECK(Dataset::open(folder.path() + "/d").split(Split::test).history_end[0] == 3);
}

TEST_CASE("import: wrong headers") {
  CHECK(recbole_says("user_id\titem_id:token\n") ==
        "[import FILE:1] column \"user_id\" has no type in the header; a RecBole header names each column "
        "NAME:TYPE, "
        "TYPE being token, token_seq, float or float_seq");
  CHECK(recbole_says("who:token\titem_id:token\trating:float\n1\t2\t3\n") ==
        "[import FILE:1] the header has no column \"user_id\"; it has who, item_id, rating; name the user "
        "column with "
        "--columns user=NAME");
  CHECK(recbole_says("user_id:token\titem_id:token\n1\t2\n") ==
        "[import FILE:1] the header has no column \"rating\" for the label; it has user_id, item_id");
  CHECK(csv_says("user,item,user\n") == "[import FILE:1] column \"user\" is there twice; rename one");
  CHECK(csv_says("user,,item\n") == "[import FILE:1] column 2 has no name; the first line must be a header");
}

TEST_CASE("import: bad lines are named with file, line, column and text") {
  const std::string header = "user_id:token\titem_id:token\trating:float\n";
  CHECK(recbole_says(header + "1\t2\t3\n1\t3\tn/a\n") ==
        "[import FILE:3] column \"rating\": \"n/a\" is not a number; give a finite number or remove the line");
  CHECK(recbole_says(header + "1\t2\tnan\n") ==
        "[import FILE:2] column \"rating\": \"nan\" is not a number; give a finite number or remove the line");
  CHECK(recbole_says(header + "1\t2\t\n") ==
        "[import FILE:2] column \"rating\" is empty; give a number or remove the line");
  CHECK(recbole_says(header + "1\t2\n") == "[import FILE:2] has 2 fields, the header has 3; mend the line");
  CHECK(recbole_says(header + "\t2\t3\n") ==
        "[import FILE:2] column \"user_id\" is empty; every interaction needs a user and an item");
  CHECK(csv_says("user,item,clicked\n1,2,3\n", {"click=clicked"}) ==
        "[import FILE:2] column \"clicked\": 3 is outside [0, 1]; make the label from a condition, as in "
        "--label "
        "'like=rating>=4'");
  CHECK(csv_says("user,item,position\n1,2,1.5\n") ==
        "[import FILE:2] column \"position\": 1.5 is not a position; give 0 for the first slot, -1 where it "
        "is not "
        "known");
  CHECK(csv_says("user,item\n\"1,2\n") == "[import FILE:2] opens a quote that is never closed; close it");
  CHECK(csv_says("user,item\n\"1\"x,2\n") ==
        "[import FILE:2] has a quote in the wrong place; double a quote inside a quoted field, and quote the "
        "whole "
        "field");
}

TEST_CASE("import: missing and empty files, unknown formats, contradictions") {
  ImportOptions o;
  o.train = "/nowhere/x.csv";
  CHECK(error_of([&] { import_data("csv", o); }) ==
        "[import /nowhere/x.csv] cannot be opened: No such file or directory; check the path");
  CHECK(csv_says("") == "[import FILE] is empty; expected a header line");
  CHECK(csv_says("user,item\n") == "[import FILE] holds no interactions; an empty dataset cannot train anything");
  CHECK(error_of([&] { import_data("lits", o); }) == "[import] \"lits\" is not a format; did you mean \"lists\"?");
  CHECK(error_of([&] { import_data("lists", ImportOptions{}); }) == "[import] lists needs --train FILE");
  TempFolder folder;
  o.train = folder.file("a.csv", "user,item\n1,2\n2,3\n");
  o.test = o.train;
  o.split = "random:0.5";
  CHECK(error_of([&] { import_data("csv", o); }) ==
        "[import] --split random:0.5 contradicts --valid and --test; leave one of them out");
  o.test = "";
  o.split = "time:0.5";
  CHECK(error_of([&] { import_data("csv", o); }, o.train) ==
        "[import FILE] has no times, so it cannot be split by time; name the column with --columns "
        "time=NAME, or use "
        "--split random:0.8");
  o.split = "given";
  o.columns = "user=user,thing=item";
  CHECK(error_of([&] { import_data("csv", o); }) ==
        "[import --columns] \"thing\" is not a role; choose user, item, time or position");
  o.columns = "";
  o.ranker = {"action=p", "like=q"};
  CHECK(error_of([&] { import_data("csv", o); }) ==
        "[import --ranker] \"like\" is not a task; add it with --label, or use the name of one");
  o.ranker = {};
  o.user = folder.file("u.csv", "user,age\n1,5\n1,6\n");
  CHECK(error_of([&] { import_data("csv", o); }, o.user) ==
        "[import FILE:3] column \"user\": \"1\" is there again, first on line 2; keep one line each");
}

TEST_CASE("import: MovieLens 100K keeps its features and ids") {
  const char* folder_of_data = std::getenv("TWOTOWER_DATA");
  const std::string base = folder_of_data ? std::string(folder_of_data) + "/ml-100k/ml-100k" : "";
  if (!folder_of_data || !std::filesystem::exists(base + ".inter")) {
    MESSAGE("skipped: set TWOTOWER_DATA to a folder that holds ml-100k/ml-100k.inter");
    return;
  }
  ImportOptions o = recbole(base + ".inter");
  o.user = base + ".user";
  o.item = base + ".item";
  o.split = "time:0.8";
  TempFolder folder;
  write_dataset(folder.path() + "/d", import_data("recbole", o).content);
  const Dataset data = Dataset::open(folder.path() + "/d");
  CHECK(data.num_users() == 943);
  CHECK(data.num_items() == 1682);
  CHECK(data.split(Split::train).size + data.split(Split::valid).size + data.split(Split::test).size == 100000);
  const std::set<std::string> users(data.user_columns().begin(), data.user_columns().end());
  const std::set<std::string> items(data.item_columns().begin(), data.item_columns().end());
  CHECK(users.count("age") == 1);
  CHECK(users.count("gender=F") == 1);
  CHECK(users.count("occupation=technician") == 1);
  CHECK(users.size() == 1 + 2 + 21);
  CHECK(items.count("release_year") == 1);
  CHECK(items.count("class=Comedy") == 1);
  CHECK(data.user_ids().find("196").has_value());
  for (const Split s : {Split::train, Split::valid, Split::test}) {
    const Impressions& rows = data.split(s);
    bool leaks = false;
    for (int64_t i = 0; i < rows.size; ++i)
      for (int64_t k = 0; k < rows.history_end[i]; ++k)
        leaks |= data.history_times()[data.history_offsets()[rows.user[i]] + k] >= rows.time[i];
    CHECK_FALSE(leaks);
  }
}
