#pragma once
// What the data tests share: a folder that removes itself, the text of an error, and a tiny dataset.

#include <stdlib.h>
#include <twotower/tensor/error.h>
#include <twotower/train/data/dataset_writer.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/error_of.h"

namespace tt {

class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "twotower-test-XXXXXX").string();
    if (!mkdtemp(pattern.data())) fail("test", "cannot make a temporary folder");
    path_ = pattern;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name, const std::string& text) const {  // writes it, returns its path
    const std::string at = path_ + "/" + name;
    std::ofstream(at, std::ios::binary) << text;
    return at;
  }

 private:
  std::string path_;
};

// 4 users, 5 items, 2 tasks ("click", "like"); user u acts on items in time order; features of widths 2
// and 3.
inline DatasetContent tiny_content() {
  DatasetContent content;
  content.source = "a test";
  content.protocol = "given split";
  content.tasks = {"click", "like"};
  content.user_ids = {"ann", "bob", "cem", "dör"};
  content.item_ids = {"i0", "i1", "i2", "i3", "i4"};
  content.user_features = {4, {"age", "vip"}, {0.5f, 1, -0.5f, 0, 1.5f, 0, -1.5f, 1}, {}};
  content.item_features = {5, {"a", "b", "c"}, {1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1}, {}};
  const auto add = [](InteractionColumns& to, int32_t user, int32_t item, double time, int32_t position, float click,
                      float like) {
    to.user.push_back(user);
    to.item.push_back(item);
    to.time.push_back(time);
    to.position.push_back(position);
    to.labels.insert(to.labels.end(), {click, like});
    to.ranker_scores.insert(to.ranker_scores.end(), {0.5f * click + 0.2f, 0.5f * like + 0.1f});
  };
  add(content.train, 0, 0, 1, 0, 1, 0);
  add(content.train, 0, 1, 2, 1, 1, 1);
  add(content.train, 1, 2, 3, 0, 0, 0);
  add(content.train, 1, 3, 4, 1, 1, 0);
  add(content.train, 2, 4, 5, 0, 1, 1);
  add(content.train, 0, 2, 5, 2, 0, 0);
  add(content.train, 2, 0, 6, 1, 1, 0);
  add(content.train, 3, 1, 7, 0, 1, 1);
  add(content.valid, 0, 3, 8, 0, 1, 0);
  add(content.valid, 1, 4, 8, 0, 1, 1);
  add(content.test, 0, 4, 9, 0, 1, 1);
  add(content.test, 2, 1, 9, 0, 1, 0);
  return content;
}

}  // namespace tt
