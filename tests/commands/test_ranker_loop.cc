// The main ranker in the loop, through the program: candidates, its answers, training on them.

#include <doctest/doctest.h>

#include <set>
#include <sstream>

#include "tests/commands/program.h"

using namespace tt;
using namespace tt::testing;
namespace fs = std::filesystem;

namespace {

Outcome must(const TempFolder& folder, const Arguments& arguments) {
  const Outcome o = run_program(folder.path(), arguments);
  INFO(o.err);
  REQUIRE(o.status == 0);
  return o;
}

std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> lines;
  std::istringstream text(read_whole_file(path));
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

// What a company's ranker would do: a column a task more. (A file that it would refuse is no file of ours.)
void answer(const TempFolder& folder, const std::string& from, const std::string& to, const std::string& header,
            const std::string& scores) {
  const std::vector<std::string> lines = lines_of(folder.path() + "/" + from);
  std::string text = lines[0] + header + "\n";
  for (size_t i = 1; i < lines.size(); ++i) text += lines[i] + scores + "\n";
  folder.file(to, text);
}

std::set<std::string> pairs_of(const TempFolder& folder, const std::string& csv) {
  std::set<std::string> pairs;
  const std::vector<std::string> lines = lines_of(folder.path() + "/" + csv);
  for (size_t i = 1; i < lines.size(); ++i)
    pairs.insert(lines[i].substr(0, lines[i].rfind(',')));  // without the source
  return pairs;
}

}  // namespace

TEST_CASE("program: candidates, the ranker's answers, training on them, and round again") {
  const TempFolder folder;
  must(folder, {"simulate", "--out", "D", "--users", "40", "--items", "60", "--impressions", "800", "--quiet"});
  const Arguments train = {"train", "--data",   "D",     "--model",    "kd",
                           "--set", "epochs=1", "--set", "decay=none", "--quiet"};
  const auto train_to = [&](const std::string& out, const Arguments& more) {
    Arguments all = train;
    all.insert(all.end(), {"--out", out});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  must(folder, train_to("R0", {}));
  const Outcome first = must(folder, {"candidates", "--run", "R0", "--out", "p1.csv", "-n", "6", "--json"});
  CHECK(first.json()["pairs"] == 240);
  CHECK(first.json()["policy"] == 120);
  CHECK(first.json()["uniform"] == 120);
  CHECK(lines_of(folder.path() + "/p1.csv")[0] == "user,item,time,source");
  CHECK(pairs_of(folder, "p1.csv").size() == 240);
  answer(folder, "p1.csv", "s1.csv", ",click,like,share", ",0.5,0.25,0");
  must(folder, train_to("R1", {"--ranker-pairs", "s1.csv"}));
  CHECK(fs::exists(folder.path() + "/R1/ranker_pairs.safetensors"));

  // The second round asks nothing again, and its training takes both files.
  must(folder, {"candidates", "--run", "R1", "--out", "p2.csv", "-n", "6"});
  const std::set<std::string> one = pairs_of(folder, "p1.csv");
  for (const std::string& pair : pairs_of(folder, "p2.csv")) CHECK(one.count(pair) == 0);
  answer(folder, "p2.csv", "s2.csv", ",share,like,click", ",0,0.25,1");
  must(folder, train_to("R2", {"--ranker-pairs", "s1.csv", "--ranker-pairs", "s2.csv"}));
  CHECK(must(folder, {"inspect", "R2/ranker_pairs.safetensors"}).out.find("[480, 3]") != std::string::npos);
  must(folder, {"train", "--data", "D", "--model", "kd", "--set", "epochs=2", "--set", "decay=none", "--quiet", "--out",
                "R2", "--resume"});
  CHECK(mistake_of(run_program(folder.path(),
                               {"train", "--data", "D", "--model", "kd", "--set", "epochs=3", "--set", "decay=none",
                                "--quiet", "--out", "R2", "--resume", "--ranker-pairs", "s1.csv"})) ==
        "[train R2] cannot resume: it was trained with other ranker pairs; leave --ranker-pairs out, or train anew "
        "without --resume");
  must(folder, {"evaluate", "--run", "R2", "--k", "10"});

  folder.file("some.txt", "\xef\xbb\xbfu7\r\nu3\r\n\r\nu7\r\n");
  must(folder, {"candidates", "--run", "R0", "--out", "some.csv", "--users", "some.txt", "-n", "3", "--uniform", "0"});
  const std::vector<std::string> some = lines_of(folder.path() + "/some.csv");
  REQUIRE(some.size() == 7);
  CHECK(some[1].starts_with("u7,"));
  CHECK(some[6].starts_with("u3,"));
  CHECK(some[6].ends_with(",policy"));
  CHECK(
      must(folder, {"candidates", "--run", "R0", "--out", "share.csv", "--share", "0.01", "--json"}).json()["pairs"] ==
      24);
}

TEST_CASE("program: pairs go into a dataset that is imported, whatever its ids look like") {
  const TempFolder folder;
  folder.file("r.csv", "who,what\n\"a \"\"q\"\", b\",x 1\n\"a \"\"q\"\", b\",y\nu,x 1\nu,z\nv,z\nv,\"y,\"\n");
  const Arguments import = {"import",  "csv",   "--train", "r.csv",  "--columns", "user=who,item=what",
                            "--split", "given", "--quiet", "--json", "--out"};
  const auto into = [&](const std::string& out, const Arguments& more) {
    Arguments all = import;
    all.push_back(out);
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  CHECK(must(folder, into("D", {})).json()["ranker_pairs"] == 0);
  must(folder, {"train", "--data", "D", "--out", "R", "--set", "epochs=1", "--quiet"});
  CHECK(must(folder, {"candidates", "--run", "R", "--out", "all.csv", "--json"}).json()["pairs"] == 12);
  answer(folder, "all.csv", "s.csv", ",action", ",0.75");
  CHECK(must(folder, into("E", {"--ranker-pairs", "s.csv"})).json()["ranker_pairs"] == 12);
  must(folder, {"train", "--data", "E", "--out", "Q", "--set", "epochs=1", "--quiet"});
  CHECK(mistake_of(run_program(folder.path(), {"candidates", "--run", "Q", "--out", "none.csv"})) ==
        "[candidates] there is nothing to ask about: the ranker's word on every pair of these users is known, or the "
        "share asked for is less than one pair");
  CHECK(!fs::exists(folder.path() + "/none.csv"));

  folder.file("more.csv", "user,item,action\nu,y,0.5\nw,y,0.5\nu,q,0.5\n");
  CHECK(mistake_of(run_program(folder.path(), into("F", {"--ranker-pairs", "s.csv", "--ranker-pairs", "more.csv"}))) ==
        "[import more.csv:3] the dataset has no user \"w\", and 1 more line names a user or an item that it does not "
        "have; leave such lines out, or give the dataset that the pairs were chosen from");
  CHECK(!fs::exists(folder.path() + "/F"));
}

TEST_CASE("program: mistakes with pairs and candidates leave nothing") {
  const TempFolder folder;
  must(folder, {"simulate", "--out", "D", "--users", "40", "--items", "30", "--impressions", "800", "--quiet"});
  must(folder, {"train", "--data", "D", "--out", "R", "--set", "epochs=1", "--quiet"});
  folder.file("empty", "");
  folder.file("users", "u1\nnobody\n");
  folder.file("bare.csv", "user,item,source\nu1,i1,policy\n");
  folder.file("high.csv", "user,item,click,like,share\nu1,i1,0,0,1.5\n");
  folder.file("tasks.csv", "user,item,click,likes,share\nu1,i1,0,0,1\n");
  const std::vector<std::pair<std::string, std::string>> mistakes = {
      {"candidates --run nowhere --out X", "[run nowhere] there is no config.toml"},
      {"candidates --run R --out nowhere/X", "make its folder first"},
      {"candidates --run R --out X --users nowhere",
       "[candidates] cannot read nowhere; give a file with a user id a line"},
      {"candidates --run R --out X --users empty",
       "[candidates] empty holds no user; give a file with a user id a line"},
      {"candidates --run R --out X --users users",
       "[candidates] users: the dataset has no user \"nobody\"; leave that line out"},
      {"candidates --run R --out X -n 0", "\"0\" is not a whole number 1.."},
      {"candidates --run R --out X -n 5 --share 0.1", "excludes"},
      {"candidates --run R --out X --share 0", "[candidates] --share is 0, outside (0, 1]"},
      {"candidates --run R --out X --share nan", "[candidates] --share is nan, outside (0, 1]"},
      {"candidates --run R --out X --share 2", "[candidates] the share of all pairs is 2, outside [0, 1]"},
      {"candidates --run R --out X --uniform 2", "[candidates] the uniform share is 2, outside [0, 1]"},
      {"candidates --run R --out X --share 0.0001", "the share asked for is less than one pair"},
      {"train --data D --out X --ranker-pairs nowhere", "[import nowhere] cannot be opened"},
      {"train --data D --out X --ranker-pairs empty", "[import empty] is empty"},
      {"train --data D --out X --ranker-pairs bare.csv",
       "[import bare.csv:1] the header has no column \"click\" for the ranker's score"},
      {"train --data D --out X --ranker-pairs tasks.csv", "did you mean \"likes\"?"},
      {"train --data D --out X --ranker-pairs high.csv",
       "[import high.csv:2] column \"share\": 1.5 is outside [0, 1]; ranker scores are probabilities"},
  };
  for (const auto& [arguments, message] : mistakes) {
    Arguments words;
    std::istringstream stream(arguments);
    for (std::string word; stream >> word;) words.push_back(word);
    const std::string said = mistake_of(run_program(folder.path(), words));
    CAPTURE(arguments);
    CAPTURE(said);
    CHECK(said.find(message) != std::string::npos);
    CHECK(!fs::exists(folder.path() + "/X"));
  }
}
