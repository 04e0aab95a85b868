// A bundle goes where its run and its data do not: packed, moved, served alone; and other data is never taken for its
// own.

#include <doctest/doctest.h>
#include <twotower/tensor/random.h>

#include <numeric>
#include <sstream>

#include "tests/commands/program.h"

using namespace tt;
using namespace tt::testing;
namespace fs = std::filesystem;

namespace {

// Forty users, thirty films with a genre and a title; lines in the order of `line_of`.
struct Films {
  explicit Films(const TempFolder& folder) {
    std::vector<std::string> log, films, people;
    const Philox random(5);
    uint64_t next = 0;
    for (int u = 0; u < 40; ++u) {
      people.push_back("user " + std::to_string(u) + "," + std::to_string(20 + u % 7 * 5) + ".5," +
                       (u % 2 == 0 ? "north" : "south"));
      for (int n = 0; n < 12; ++n) {
        const auto film = static_cast<int>(random.below(next++, 15)) * 2 + u % 2;
        log.push_back("user " + std::to_string(u) + ",film " + std::to_string(film) + "," + std::to_string(n * 40 + u));
      }
    }
    for (int f = 0; f < 30; ++f)
      films.push_back("film " + std::to_string(f) + "," + std::to_string(1990 + f) + ".5," +
                      (f % 3 == 0 ? "Drama" : "Comedy") + ",Film No. " + std::to_string(f));
    const auto write = [&](const std::string& name, const std::string& header, std::vector<std::string> lines,
                           bool reversed) {
      if (reversed) std::reverse(lines.begin(), lines.end());
      std::string text = header + "\n";
      for (const std::string& line : lines) text += line + "\n";
      folder.file(name, text);
    };
    for (const bool reversed : {false, true}) {
      const std::string of = reversed ? "2.csv" : "1.csv";
      write("log" + of, "user,item,time", log, reversed);
      write("films" + of, "item,year,genre,title", films, reversed);
      write("people" + of, "user,age,region", people, reversed);
    }
  }
};

}  // namespace

TEST_CASE("program: a bundle serves alone; the same data in another order is refused, never permuted") {
  const TempFolder folder;
  const Films films(folder);
  const auto run = [&](const Arguments& a) { return run_program(folder.path(), a); };
  for (const char* n : {"1", "2"}) {
    const std::string of = std::string(n) + ".csv";
    const Outcome o = run({"import", "csv", "--train", "log" + of, "--item", "films" + of, "--user", "people" + of,
                           "--columns", "user=user,item=item,time=time", "--split", "time:0.8", "--max-categories",
                           "20", "--out", std::string("D") + n, "--quiet"});
    INFO(o.err);
    REQUIRE(o.status == 0);
  }
  Outcome o = run({"train", "--data", "D1", "--out", "R", "--model", "history", "--set", "epochs=2", "--set",
                   "item_id_embedding_dim=16", "--quiet"});
  INFO(o.err);
  REQUIRE(o.status == 0);
  const auto asked = [&](Arguments a) {
    Arguments all = {"retrieve", "-k", "3", "--json", "--quiet"};
    all.insert(all.end(), a.begin(), a.end());
    return run(all);
  };
  const Outcome from_run = asked({"--run", "R", "--user", "user 3", "user 8"});
  INFO(from_run.err);
  REQUIRE(from_run.status == 0);
  const nlohmann::json answer = from_run.json();
  REQUIRE(answer[0]["items"].size() == 3);
  for (const auto& item : answer[0]["items"])
    CHECK(item["title"] == "Film No. " + item["item"].get<std::string>().substr(5));

  SUBCASE("the same by original ids, wherever the bundle lies and whatever became of the data") {
    fs::create_directory(folder.path() + "/elsewhere");
    fs::copy_file(folder.path() + "/R/bundle.safetensors", folder.path() + "/elsewhere/b");
    fs::rename(folder.path() + "/D1", folder.path() + "/gone");
    fs::rename(folder.path() + "/D2", folder.path() + "/D1");  // the other order in its place
    fs::remove_all(folder.path() + "/gone");
    CHECK(asked({"--bundle", "elsewhere/b", "--user", "user 3", "user 8"}).out == from_run.out);
    CHECK(asked({"--run", "R", "--user", "user 3", "user 8"}).out == from_run.out);
    const std::string refused = mistake_of(run({"evaluate", "--run", "R"}));
    CHECK(refused.find("its users, items or features, or their order, are not those that R was trained on") !=
          std::string::npos);
    CHECK(refused.find("give that dataset with --data, or train on this one") != std::string::npos);
    CHECK(mistake_of(run({"pack", "--run", "R", "--out", "P"})).find("are not those that R was trained on") !=
          std::string::npos);
    CHECK(!fs::exists(folder.path() + "/P"));
  }
  SUBCASE("evaluate and resume refuse the other order") {
    CHECK(run({"evaluate", "--run", "R", "--no-intervals", "--no-baselines"}).status == 0);
    CHECK(mistake_of(run({"evaluate", "--run", "R", "--data", "D2"})).find("are not those that R was trained on") !=
          std::string::npos);
    CHECK(mistake_of(run({"train", "--data", "D2", "--out", "R", "--model", "history", "--set", "epochs=3", "--set",
                          "item_id_embedding_dim=16", "--resume", "--quiet"}))
              .find("is not the one that it was trained on") != std::string::npos);
  }
  SUBCASE("pack without users: only who is described is served") {
    o = run({"pack", "--run", "R", "--out", "P", "--no-users"});
    INFO(o.err);
    REQUIRE(o.status == 0);
    CHECK(mistake_of(asked({"--bundle", "P", "--user", "user 3"})).find("holds no users (--no-users)") !=
          std::string::npos);
    CHECK(mistake_of(run({"export", "--bundle", "P", "--users", "--out", "u.npy"})).find("holds no users") !=
          std::string::npos);
    folder.file("guests.csv", "id,age,region,history\nsomeone,30,north,film 2|film 4\n");
    const Outcome without = asked({"--bundle", "P", "--users-from", "guests.csv"}),
                  with = asked({"--run", "R", "--users-from", "guests.csv"});
    CHECK(without.status == 0);
    CHECK(without.out == with.out);
    o = run({"inspect", "P"});
    CHECK(o.status == 0);
    CHECK(o.out.find("only users described by features and history are served") != std::string::npos);
    CHECK(read_whole_file(folder.path() + "/P").find("user 17") == std::string::npos);
  }
  SUBCASE("pack with an index: it is what retrieve goes through, and answers as before") {
    const Outcome exact = asked({"--run", "R", "--user", "user 3"});
    for (const std::string kind : {"fp16", "int8", "hnsw"}) {
      CAPTURE(kind);
      o = run({"pack", "--run", "R", "--out", "P", "--index", kind});
      INFO(o.err);
      REQUIRE(o.status == 0);
      CHECK(o.err.find("index " + kind + ": built in ") != std::string::npos);
      CHECK(read_whole_file(folder.path() + "/P").find("index.") != std::string::npos);
      CHECK(asked({"--bundle", "P", "--user", "user 3"}).out == exact.out);
      const std::string inspected = run({"inspect", "P"}).out;
      CHECK(inspected.find(kind + "  recall@") != std::string::npos);
      CHECK(inspected.find(" when it was built, of ") != std::string::npos);
      CHECK(asked({"--bundle", "P", "--user", "user 3", "--index", "exact"}).out == exact.out);
      CHECK(asked({"--run", "R", "--user", "user 3", "--index", kind}).out == exact.out);
    }
    for (const auto& entry : fs::directory_iterator(folder.path()))
      CHECK(entry.path().string().find(".plain") == std::string::npos);
  }
  SUBCASE("filters by category") {
    o = asked({"--run", "R", "--user", "user 3", "--where", "genre=Drama", "--include-seen"});
    INFO(o.err);
    REQUIRE(o.status == 0);
    REQUIRE(o.json()[0]["items"].size() == 3);
    const nlohmann::json found = o.json();
    for (const auto& item : found[0]["items"]) CHECK(std::stoi(item["item"].get<std::string>().substr(5)) % 3 == 0);
    o = asked({"--run", "R", "--user", "user 3", "--where", "title=Film No. 7", "--include-seen"});
    REQUIRE(o.json()[0]["items"].size() == 1);
    CHECK(o.json()[0]["items"][0]["item"] == "film 7");
    CHECK(mistake_of(asked({"--run", "R", "--user", "user 3", "--where", "genre=Dramma"})) ==
          "[filter] no item has genre = \"Dramma\"; did you mean \"Drama\"?");
  }
  SUBCASE("inspect reads all of it, and a changed byte shows") {
    o = run({"inspect", "R/bundle.safetensors"});
    CHECK(o.status == 0);
    CHECK(o.out.find("a bundle, as it was written") != std::string::npos);
    CHECK(o.out.find("values of genre") != std::string::npos);
    CHECK(o.out.find("all inner products") != std::string::npos);
    std::string bytes = read_whole_file(folder.path() + "/R/bundle.safetensors");
    bytes[bytes.size() - 3] = static_cast<char>(bytes[bytes.size() - 3] ^ 1);
    folder.file("R/bundle.safetensors", bytes);
    CHECK(mistake_of(run({"inspect", "R"})).find("are not those that were written") != std::string::npos);
  }
}
