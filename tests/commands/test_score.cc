// twotower score: a simulated world's ranker answers what its log says, and mistakes are one line each.

#include <doctest/doctest.h>
#include <twotower/train/data/dataset.h>

#include <algorithm>
#include <sstream>

#include "tests/commands/program.h"

using namespace tt;
using namespace tt::testing;

TEST_CASE("program: score gives the logged scores as of then, and those at the end of training without a time") {
  const TempFolder folder;
  REQUIRE(run_program(folder.path(), {"simulate", "--out", "D", "--world", "drifting", "--users", "60", "--items", "80",
                                      "--impressions", "3000", "--quiet"})
              .status == 0);
  const Dataset data = Dataset::open(folder.path() + "/D");
  const Impressions& log = data.split(Split::train);
  std::ostringstream pairs;
  pairs.precision(17);
  pairs << "time,item,user\n";
  for (int64_t i = 0; i < 200; ++i)
    pairs << log.time[i] << "," << data.item_ids().text(log.item[i]) << "," << data.user_ids().text(log.user[i])
          << "\n";
  folder.file("pairs.csv", pairs.str());
  const Outcome told =
      run_program(folder.path(), {"score", "--data", "D", "--pairs", "pairs.csv", "--out", "scored.csv"});
  CHECK(told.status == 0);
  CHECK(told.out.empty());
  CHECK(told.err == "wrote the ranker's scores of 200 pairs to scored.csv\n");
  std::istringstream scored(read_whole_file(folder.path() + "/scored.csv"));
  std::string line;
  std::getline(scored, line);
  CHECK(line == "user,item,click,like,share");
  int64_t rows = 0;
  for (; std::getline(scored, line); ++rows) {
    std::istringstream fields(line);
    std::string user, item, number;
    std::getline(fields, user, ','), std::getline(fields, item, ',');
    CHECK(user == data.user_ids().text(log.user[rows]));
    CHECK(item == data.item_ids().text(log.item[rows]));
    for (int64_t t = 0; t < 3 && std::getline(fields, number, ','); ++t)
      CHECK(std::stof(number) == doctest::Approx(log.ranker_scores[rows * 3 + t]).epsilon(1e-6));
  }
  CHECK(rows == 200);

  // Somebody whose interests move within the training log, and on after it.
  const Impressions& later = data.split(Split::test);
  int64_t regular = later.user[0], visits = 0;
  for (int64_t i = 0; i < later.size; ++i)
    if (const int64_t seen = std::count(log.user, log.user + log.size, later.user[i]); seen > visits)
      regular = later.user[i], visits = seen;
  REQUIRE(visits > 20);
  const std::string user(data.user_ids().text(regular)), item(data.item_ids().text(log.item[0]));
  std::ostringstream end;
  end.precision(17);
  end << *std::max_element(log.time, log.time + log.size);
  const auto ask = [&](const std::string& text) {
    folder.file("pairs.csv", text);
    return run_program(folder.path(), {"score", "--data", "D", "--pairs", "pairs.csv"});
  };
  const std::string trained = ask("user,item\n" + user + "," + item + "\n").out;
  CHECK(trained == ask("user,item,time\n" + user + "," + item + "," + end.str() + "\n").out);
  CHECK(trained != ask("user,item,time\n" + user + "," + item + ",0\n").out);
  CHECK(trained != ask("user,item,time\n" + user + "," + item + ",9e9\n").out);

  CHECK(ask("user,item\nnobody,i1\n").err ==
        "[import pairs.csv:2] there is no user \"nobody\" in the dataset; give an id as it stands there, such as "
        "\"u0\"\n");
  CHECK(ask("user,item\nu1,nothing\n").err.find("there is no item \"nothing\"") != std::string::npos);
  CHECK(ask("who,item\nu1,i1\n").err ==
        "[import pairs.csv:1] has the columns who, item; give the header user,item and, if you like, time\n");
  CHECK(ask("user,item\n").err == "[import pairs.csv] holds no pair below its header; give a pair a line\n");
  CHECK(ask("user,item,time\nu1,i1,late\n").status == 2);
  std::filesystem::remove(folder.path() + "/D/truth.safetensors");
  const Outcome real = ask("user,item\nu1,i1\n");
  CHECK(real.status == 2);
  CHECK(real.err.find("[dataset D] has no truth.safetensors; only a dataset made by `twotower simulate`") == 0);
}
