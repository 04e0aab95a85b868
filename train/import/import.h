#pragma once
// Other people's data to a dataset folder.

#include <twotower/train/data/dataset_content.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tt {

struct ImportOptions {
  std::string train, valid, test;         // interactions; RecBole's --inter is `train`
  std::string user, item;                 // feature files, or ""
  std::vector<std::string> labels;        // "like=rating>=4"; none: every interaction is 1 for the task "action"
  std::vector<std::string> ranker;        // "click=p_click", one for each task
  std::vector<std::string> ranker_pairs;  // files of pairs that the main ranker was asked about (ranker_pairs.h)
  std::string columns;                    // "user=userId,item=movieId,time=ts,position=slot"
  std::optional<int64_t> first_position;  // what the log calls the first slot; none: 0
  char delimiter = ',';                   // csv only
  std::string split;                      // see split.h; "" for the format's default
  std::optional<double> hold_out;         // share of train that becomes valid; none: a tenth of random and time splits,
                                          // 0 of given ones
  int64_t max_categories = 64;            // see features.h
  uint64_t seed = 1;
};

// The dataset in memory and what a person should know about it, a line each.
struct Imported {
  DatasetContent content;
  std::vector<std::string> notes;
};

// format: recbole, csv, lists or sequences; Error for another one, and for what the files hold.
Imported import_data(const std::string& format, const ImportOptions& options);

}  // namespace tt
