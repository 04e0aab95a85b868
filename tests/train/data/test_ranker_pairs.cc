#include <doctest/doctest.h>
#include <twotower/tensor/files/safetensors.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/data/fingerprint.h>
#include <twotower/train/data/ranker_pairs.h>

#include <filesystem>

#include "tests/train/fixtures.h"

using namespace tt;
namespace fs = std::filesystem;

namespace {

struct Tiny : TempFolder {
  explicit Tiny(const RankerPairs& pairs = {}) {
    DatasetContent content = tiny_content();
    content.ranker_pairs = pairs;
    write_dataset(dir(), content);
  }
  std::string dir() const { return path() + "/d"; }
  Dataset data() const { return Dataset::open(dir()); }
};

// What reading a file of this text says.
std::string reading_says(const std::string& text) {
  const Tiny tiny;
  const std::string csv = tiny.file("pairs.csv", text);
  const Dataset data = tiny.data();
  return error_of([&] { read_ranker_pairs(csv, data); }, csv);
}

const RankerPairs kTwo{{1, 3}, {4, 0}, {0.5f, 0.25f, 0, 1}};

bool equal(const RankerPairs& a, const RankerPairs& b) {
  return a.user == b.user && a.item == b.item && a.scores == b.scores;
}

}  // namespace

TEST_CASE("ranker pairs: columns in any order, further ones ignored, ordered by user and item") {
  const Tiny tiny;
  const std::string csv = tiny.file("pairs.csv",
                                    "source,like,item,click,user\r\n"
                                    "policy,0.1,i4,1,bob\r\nuniform,0,i1,0.25,\"d\xc3\xb6r\"\r\npolicy,1,i2,0,bob");
  const RankerPairs pairs = read_ranker_pairs(csv, tiny.data());
  CHECK(pairs.user == std::vector<int32_t>{1, 1, 3});
  CHECK(pairs.item == std::vector<int32_t>{2, 4, 1});
  CHECK(pairs.scores == std::vector<float>{0, 1, 1, 0.1f, 0.25f, 0});
}

TEST_CASE("ranker pairs: files add up, and of a pair given twice the last word holds") {
  const Tiny tiny;
  const Dataset data = tiny.data();
  const std::string first = tiny.file("1.csv", "user,item,click,like\nbob,i4,0.1,0\nann,i0,0.2,0\nbob,i4,0.3,0\n");
  const std::string second = tiny.file("2.csv", "user,item,click,like\nann,i1,0.5,0\nann,i0,0.4,0\n");
  RankerPairs pairs = read_ranker_pairs(first, data);
  CHECK(pairs.scores == std::vector<float>{0.2f, 0, 0.3f, 0});
  add_ranker_pairs(pairs, read_ranker_pairs(second, data));
  CHECK(pairs.user == std::vector<int32_t>{0, 0, 1});
  CHECK(pairs.item == std::vector<int32_t>{0, 1, 4});
  CHECK(pairs.scores == std::vector<float>{0.4f, 0, 0.5f, 0, 0.3f, 0});
}

TEST_CASE("ranker pairs: every mistake is told with its line") {
  CHECK(
      reading_says("user,item,click,like\nbob,i4,0.1,0\nzoe,i4,0.1,0\n") ==
      "[import FILE:3] the dataset has no user \"zoe\"; leave such lines out, or give the dataset that the pairs were "
      "chosen from");
  CHECK(
      reading_says("user,item,click,like\nbob,i9,0.1,0\nzoe,i4,0.1,0\nann,i0,1,1\nzoe,i9,0,0\n") ==
      "[import FILE:2] the dataset has no item \"i9\", and 2 more lines name a user or an item that it does not have; "
      "leave such lines out, or give the dataset that the pairs were chosen from");
  CHECK(reading_says("user,item,click,like\nbob,i4,0.1,1.5\n") ==
        "[import FILE:2] column \"like\": 1.5 is outside [0, 1]; ranker scores are probabilities");
  CHECK(reading_says("user,item,click,like\n\nbob,i4,-0.1,1\n") ==
        "[import FILE:3] column \"click\": -0.1 is outside [0, 1]; ranker scores are probabilities");
  CHECK(reading_says("user,item,click,like\nbob,i4,high,1\n") ==
        "[import FILE:2] column \"click\": \"high\" is not a number; give a finite number or remove the line");
  CHECK(reading_says("user,item,click,like\nbob,i4,nan,1\n") ==
        "[import FILE:2] column \"click\": \"nan\" is not a number; give a finite number or remove the line");
  CHECK(reading_says("user,item,click,like\nbob,i4,,1\n") ==
        "[import FILE:2] column \"click\" is empty; give a number or remove the line");
  CHECK(reading_says("user,item,clicks,like\nbob,i4,0,1\n") ==
        "[import FILE:1] the header has no column \"click\" for the ranker's score; did you mean \"clicks\"?");
  CHECK(reading_says("user_name,what,click,like\nbob,i4,0,1\n") ==
        "[import FILE:1] the header has no column \"user\" for the user's id; it has user_name, what, click, like");
  CHECK(reading_says("user,itme,click,like\nbob,i4,0,1\n") ==
        "[import FILE:1] the header has no column \"item\" for the item's id; did you mean \"itme\"?");
  CHECK(reading_says("user,item,click,like\nbob,i4,0\n") ==
        "[import FILE:2] has 3 fields, the header has 4; mend the line");
  CHECK(reading_says("user,item,click,like\n") == "[import FILE] holds no pair; expected a line each below the header");
  CHECK(reading_says("") == "[import FILE] is empty; expected a header line");
}

TEST_CASE("ranker pairs: a dataset holds them, and they are part of what a training learns from") {
  const Tiny without, with(kTwo);
  CHECK(load_ranker_pairs(without.data()).size() == 0);
  CHECK(equal(load_ranker_pairs(with.data()), kTwo));
  CHECK(rows_fingerprint(with.data()) == rows_fingerprint(without.data()));
  CHECK(log_fingerprint(with.data()) != log_fingerprint(without.data()));
  RankerPairs other = kTwo;
  other.scores[3] = 0.5f;
  CHECK(log_fingerprint(Tiny(other).data()) != log_fingerprint(with.data()));
  CHECK(log_fingerprint(Tiny(kTwo).data()) == log_fingerprint(with.data()));
  write_dataset(with.dir(), tiny_content());  // a dataset that has some is replaced like any other
  CHECK(load_ranker_pairs(with.data()).size() == 0);
}

TEST_CASE("ranker pairs: what does not fit a dataset is neither written into it nor read from it") {
  const auto says = [](const RankerPairs& bad) {
    const TempFolder folder;
    DatasetContent content = tiny_content();
    content.ranker_pairs = bad;
    const std::string dir = folder.path() + "/d";
    const std::string writing = error_of([&] { write_dataset(dir, content); }, dir);
    CHECK(fs::is_empty(folder.path()));
    return writing;
  };
  const auto loading_says = [](const RankerPairs& bad) {
    const Tiny tiny;
    const std::string path = tiny.dir() + "/" + kRankerPairsFile;
    save_ranker_pairs(path, bad);
    return error_of([&] { load_ranker_pairs(tiny.data()); }, path);
  };
  const RankerPairs user{{0, 4}, {0, 0}, {0, 0, 0, 0}}, item{{0}, {-1}, {0, 0}}, score{{0}, {0}, {0, 1.5f}},
      narrow{{0}, {0}, {1}};
  const std::string for_another = "; was it written for another dataset?";
  CHECK(says(user) == "[dataset FILE] ranker pair 1: user 4 is out of range, there are 4 users" + for_another);
  CHECK(says(item) == "[dataset FILE] ranker pair 0: item -1 is out of range, there are 5 items" + for_another);
  const std::string outside =
      "ranker pair 0: the score of \"like\" is 1.5, outside [0, 1]; ranker scores are probabilities";
  CHECK(says(score) == "[dataset FILE] " + outside);
  CHECK(says(narrow) ==
        "[dataset FILE] ranker pairs: 1 users, 1 items and 1 scores for 2 tasks; give each pair a user, an item and a "
        "score a task");
  CHECK(loading_says(user) == "[dataset FILE] ranker pair 1: user 4 is out of range, there are 4 users" + for_another);
  CHECK(loading_says(score) == "[dataset FILE] " + outside);
  CHECK(loading_says(narrow).find("scores") != std::string::npos);
  // Of another program's making: in any order, and with a pair twice.
  const Tiny tiny;
  save_ranker_pairs(tiny.dir() + "/" + kRankerPairsFile, {{3, 1, 3}, {0, 4, 0}, {1, 0, 0.5f, 0.25f, 0, 1}});
  CHECK(equal(load_ranker_pairs(tiny.data()), RankerPairs{{1, 3}, {4, 0}, {0.5f, 0.25f, 0, 1}}));
}
