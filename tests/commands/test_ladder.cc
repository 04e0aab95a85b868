// Every rung through the program: where the data has what it needs, and where it has not.

#include <doctest/doctest.h>
#include <twotower/models/config.h>
#include <twotower/train/data/dataset.h>

#include <sstream>

#include "tests/commands/program.h"

using namespace tt;
using namespace tt::testing;

TEST_CASE("program: every rung trains, is evaluated and retrieves") {
  const TempFolder folder;
  const auto run = [&](const Arguments& a) { return run_program(folder.path(), a); };
  REQUIRE(
      run({"simulate", "--out", "D", "--users", "60", "--items", "40", "--impressions", "1500", "--quiet"}).status ==
      0);
  for (const std::string& rung : rung_names()) {
    CAPTURE(rung);
    Outcome o = run({"train", "--data", "D", "--out", rung, "--model", rung, "--set", "epochs=1", "--set",
                     "item_id_embedding_dim=16", "--quiet"});
    INFO(o.err);
    REQUIRE(o.status == 0);
    o = run({"evaluate", "--run", rung, "--json", "--no-intervals"});
    CHECK(o.status == 0);
    const nlohmann::json whole = o.json();
    CHECK(whole["measures"].contains("recall@20"));
    o = run({"evaluate", "--run", rung, "--json", "--no-intervals", "--towers"});
    CHECK(o.status == 0);
    ModelConfig config;
    apply_rung(config, rung);
    CHECK((o.json()["protocol"] == whole["protocol"]) == !config.light_ranker);
    CHECK((o.json()["measures"] == whole["measures"]) == !config.light_ranker);
    if (config.light_ranker) {
      const Arguments retrieve = {"retrieve", "--run", rung, "--user", "u1", "-k", "5", "--json"};
      Arguments towers = retrieve;
      towers.push_back("--towers");
      CHECK(run(towers).out != run(retrieve).out);
    }
    o = run({"retrieve", "--run", rung, "--user", "u0", "-k", "3", "--json"});
    CHECK(o.status == 0);
    CHECK(o.json()[0]["items"].size() > 0);
  }
}

// Whatever a rung needs and the data lacks is said in one line, before anything is written.
TEST_CASE("program: every rung on data without positions and ranker scores") {
  const TempFolder folder;
  const auto run = [&](const Arguments& a) { return run_program(folder.path(), a); };
  std::string log = "user,item,rating,time\n";
  for (int i = 0; i < 120; ++i)
    log += "u" + std::to_string(i % 8) + ",i" + std::to_string(i * 7 % 11) + "," + std::to_string(1 + i % 5) + "," +
           std::to_string(i) + "\n";
  folder.file("log.csv", log);
  REQUIRE(run({"import", "csv", "--train", "log.csv", "--label", "like=rating>=3", "--out", "D", "--quiet", "--columns",
               "time=time", "--split", "time:0.8"})
              .status == 0);
  const Arguments tower = {"--set", "epochs=1", "--set", "item_id_embedding_dim=16", "--quiet"};
  const auto train = [&](const std::string& rung, const Arguments& more) {
    Arguments a = {"train", "--data", "D", "--out", "R-" + rung, "--model", rung};
    a.insert(a.end(), tower.begin(), tower.end());
    a.insert(a.end(), more.begin(), more.end());
    return run(a);
  };
  for (const std::string& rung : rung_names()) {
    CAPTURE(rung);
    ModelConfig config;
    apply_rung(config, rung);
    Arguments more;
    if (config.debias_position()) {
      const std::string message = mistake_of(train(rung, {}));
      CHECK(message.find("it has no positions, which debias = ") != std::string::npos);
      CHECK(!std::filesystem::exists(folder.path() + "/R-" + rung));
      more = {"--set", "debias=user"};  // as the message says
    }
    if (config.distill) {
      CHECK(mistake_of(train(rung, more)).find("it has no ranker scores, which distillation needs") !=
            std::string::npos);
      CHECK(!std::filesystem::exists(folder.path() + "/R-" + rung));
      more.insert(more.end(),
                  {"--set", "distill=false", "--set", "distill_towers=none", "--set", "ranker_serves=labels"});
    }
    const Outcome o = train(rung, more);
    INFO(o.err);
    REQUIRE(o.status == 0);
    const Outcome measured = run({"evaluate", "--run", "R-" + rung, "--no-intervals", "--include-seen"});
    CAPTURE(measured.err);
    CHECK(measured.status == 0);
    const Outcome found =
        run({"retrieve", "--run", "R-" + rung, "--user", "u1", "-k", "2", "--json", "--include-seen"});
    CHECK(found.status == 0);
    CHECK(found.json()[0]["items"].size() == 2);
  }
}

namespace {

Outcome tiny_demo(const TempFolder& folder, const Arguments& more) {
  Arguments a = {"demo",     "--out", "demo",          "--users", "60",        "--items", "40",
                 "--epochs", "1",     "--impressions", "1500",    "--threads", "1",       "--quiet"};
  a.insert(a.end(), more.begin(), more.end());
  Outcome o = run_program(folder.path(), a);
  INFO(o.err);
  REQUIRE(o.status == 0);
  CHECK(o.err.empty());
  return o;
}

}  // namespace

TEST_CASE("program: demo compares the rungs asked for, in the drifting world and in the static one") {
  const TempFolder folder;
  const nlohmann::json rows = tiny_demo(folder, {"--models", "base,kd", "--json"}).json();
  std::vector<std::string> found;
  for (const auto& row : rows) {
    found.push_back(row["world"].get<std::string>() + " " + row["model"].get<std::string>());
    CHECK(row["measures"].contains("true_funnel_value@10:20"));
    CHECK(row.contains("towers_alone") == (row["model"] == "kd"));
    if (row.contains("towers_alone")) CHECK(row["towers_alone"] != row["measures"]);
  }
  std::vector<std::string> expected;
  for (const char* world : {"drifting", "static"})
    for (const char* model : {"random", "recent", "popularity", "base", "kd"})
      expected.push_back(std::string(world) + " " + model);
  CHECK(found == expected);
  const auto world_of = [&](const char* data) { return Dataset::open(folder.path() + "/demo/" + data).available(); };
  CHECK(world_of("drifting/data") != nullptr);  // items come and go
  CHECK(world_of("static/data") == nullptr);
}

TEST_CASE("program: demo's tables fit a terminal") {
  const TempFolder folder;
  std::istringstream out(tiny_demo(folder, {"--models", "aligned", "--world", "drifting"}).out);
  std::string text;
  for (std::string line; std::getline(out, line); text += line + "\n") CHECK_MESSAGE(line.size() <= 120, line);
  CHECK(!std::filesystem::exists(folder.path() + "/demo/static"));
  const auto find = [&](const char* what) { return text.find(what); };
  CHECK(find("\nThe drifting world: ") < find("\naligned "));
  CHECK(find("\naligned ") < find("\naligned, towers alone "));
  CHECK(find("\naligned, towers alone ") < find("\n10 items for user u0 from aligned in the drifting world\n"));
  CHECK(find("static world") == std::string::npos);
}

TEST_CASE("program: demo climbs on a dataset that is there") {
  const TempFolder folder;
  Outcome o = run_program(folder.path(), {"simulate", "--out", "D", "--users", "60", "--items", "40", "--impressions",
                                          "1500", "--seed", "5", "--quiet"});
  REQUIRE(o.status == 0);
  const Arguments demo = {"demo", "--out",    "demo", "--data", "D",      "--models",
                          "base", "--epochs", "1",    "--json", "--quiet"};
  o = run_program(folder.path(), demo);
  INFO(o.err);
  REQUIRE(o.status == 0);
  CHECK(o.json().size() == 4);
  CHECK(o.json()[3]["model"] == "base");
  CHECK(!o.json()[3].contains("world"));
  std::vector<std::string> made;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() + "/demo"))
    made.push_back(entry.path().filename());
  CHECK(made == std::vector<std::string>{"base"});
  CHECK(read_whole_file(folder.path() + "/demo/base/config.toml").find("data = 'D'") != std::string::npos);

  std::filesystem::remove(folder.path() + "/D/truth.safetensors");
  o = run_program(folder.path(), demo);
  CHECK(o.status == 2);
  CHECK(o.err.find("give a dataset that `twotower simulate` made") != std::string::npos);
}

TEST_CASE("program: --set has the last word in a demo") {
  const TempFolder folder;
  const auto config = [&](Arguments more) {
    more.insert(more.end(), {"--models", "base", "--world", "static"});
    tiny_demo(folder, more);
    return read_whole_file(folder.path() + "/demo/static/base/config.toml");
  };
  const std::string own = config({});
  CHECK(own.find("\nepochs = 1\n") == std::string::npos);  // few impressions have value, so there are more epochs
  CHECK(own.find("monitor = 'agreement@20'") != std::string::npos);
  const std::string set = config({"--set", "epochs=1", "--set", "train.monitor=recall@10"});
  CHECK(set.find("\nepochs = 1\n") != std::string::npos);
  CHECK(set.find("monitor = 'recall@10'") != std::string::npos);
}

TEST_CASE("program: a training that cannot stop early says so") {
  const TempFolder folder;
  folder.file("log.csv", "user,item,time\na,x,1\na,y,1\nb,x,1\nb,y,2\n");
  Outcome o = run_program(folder.path(), {"import", "csv", "--train", "log.csv", "--out", "D"});
  REQUIRE(o.status == 0);
  CHECK(o.err.find("note: the valid split is empty: training will not stop early") != std::string::npos);
  o = run_program(folder.path(), {"train", "--data", "D", "--out", "R", "--set", "epochs=3"});
  REQUIRE(o.status == 0);
  CHECK(o.err.find("the data has no validation split: no early stopping, all 3 epochs are trained") !=
        std::string::npos);
  // A validation split on which nothing can be measured is none: it used to be refused.
  folder.file("log.csv", "user,item,time,rating\na,x,1,5\nb,y,2,5\nb,x,3,5\na,y,4,1\nb,z,5,5\n");
  o = run_program(folder.path(), {"import", "csv", "--train", "log.csv", "--label", "like=rating>=4", "--split",
                                  "time:0.8", "--out", "D"});
  REQUIRE(o.status == 0);
  CHECK(o.err.find("note: the valid split holds no action") != std::string::npos);
  o = run_program(folder.path(), {"train", "--data", "D", "--out", "R", "--set", "epochs=2"});
  CHECK(o.status == 0);
  CHECK(o.err.find("nobody acts on anything in the validation split: no early stopping, all 2 epochs") !=
        std::string::npos);
}
