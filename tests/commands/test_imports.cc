// Small made-up files in each format, through the program, as far as a recommendation.

#include <doctest/doctest.h>

#include "tests/commands/program.h"

using namespace tt;
using namespace tt::testing;

namespace {

// Imports with `arguments`, trains an epoch and asks for `user`: what comes back.
nlohmann::json recommended(const TempFolder& folder, Arguments arguments, const std::string& user) {
  arguments.insert(arguments.begin(), "import");
  arguments.insert(arguments.end(), {"--out", "D", "--quiet"});
  Outcome o = run_program(folder.path(), arguments);
  INFO(o.err);
  REQUIRE(o.status == 0);
  o = run_program(folder.path(), {"train", "--data", "D", "--out", "R", "--set", "epochs=1", "--quiet"});
  INFO(o.err);
  REQUIRE(o.status == 0);
  o = run_program(folder.path(), {"retrieve", "--run", "R", "--user", user, "-k", "1", "--include-seen", "--json"});
  INFO(o.err);
  REQUIRE(o.status == 0);
  return o.json();
}

}  // namespace

TEST_CASE("program: csv whose ids have spaces, quotes, commas and umlauts, with a byte order mark and CR LF") {
  const TempFolder folder;
  folder.file("r.csv",
              "\xef\xbb\xbfwho,what,stars\r\n"
              "\"a \"\"q\"\", b\",x 1,5\r\n\"a \"\"q\"\", b\",\xc3\xbc,4\r\nu,x "
              "1,4\r\nu,z,1\r\nv,z,5\r\nv,\xc3\xbc,5");
  const auto json = recommended(
      folder,
      {"csv", "--train", "r.csv", "--columns", "user=who,item=what", "--label", "like=stars>=4", "--split", "given"},
      "a \"q\", b");
  CHECK(json[0]["user"] == "a \"q\", b");
  CHECK(json[0]["items"].size() == 1);
}

TEST_CASE("program: recbole") {
  const TempFolder folder;
  std::string inter = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n";
  for (int i = 0; i < 40; ++i)
    inter += std::to_string(i % 5) + "\ti" + std::to_string(i % 7) + "\t" + std::to_string(1 + i % 5) + "\t" +
             std::to_string(100 + i) + "\n";
  folder.file("a.inter", inter);
  folder.file("a.item", "item_id:token\tyear:float\tclass:token_seq\ni0\t1990\tComedy Drama\ni1\t1991\tDrama\n");
  const auto json = recommended(
      folder, {"recbole", "--inter", "a.inter", "--item", "a.item", "--label", "like=rating>=3", "--split", "time:0.8"},
      "3");
  CHECK(json[0]["items"].size() == 1);
}

TEST_CASE("program: lists and sequences") {
  const TempFolder folder;
  folder.file("train.txt", "1 10 11 12 13\n2 11 12 14\n3 10 14 15\n");
  folder.file("test.txt", "1 14\n2 10\n");
  CHECK(recommended(folder, {"lists", "--train", "train.txt", "--test", "test.txt"}, "2")[0]["items"].size() == 1);
  CHECK(recommended(folder, {"sequences", "--train", "train.txt"}, "3")[0]["items"].size() == 1);
}

TEST_CASE("program: one user with one item is served") {
  const TempFolder folder;
  folder.file("one.csv", "user,item\na,x\n");
  CHECK(recommended(folder, {"csv", "--train", "one.csv", "--split", "given"}, "a")[0]["items"][0]["item"] == "x");
  const std::string message = mistake_of(run_program(folder.path(), {"evaluate", "--run", "R"}));
  CHECK(message.find("has no user with an item acted on and not seen before") != std::string::npos);
}
