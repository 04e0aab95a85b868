#pragma once
// What the main ranker said of pairs when it was asked, beyond what the log holds: "how much would this user, as of the
// end of the training log, like this item?" A log knows the ranker's word on what was shown; pairs know it of anything.

#include <cstdint>
#include <string>
#include <vector>

namespace tt {

class Dataset;
class IdTable;

// N pairs, ascending by user, then item; each pair once.
struct RankerPairs {
  std::vector<int32_t> user, item;  // [N] rows
  std::vector<float> scores;        // [N, T] in [0, 1]
  int64_t size() const { return static_cast<int64_t>(user.size()); }
};

// Puts `later` into `pairs`. Of a pair that is in both, or twice in one, the last word holds. Both may be in any order.
void add_ranker_pairs(RankerPairs& pairs, const RankerPairs& later);

// Comma-separated text with a header: the columns `user` and `item` hold original ids, and each task of the dataset has
// a column of its name with the ranker's probability. The order of columns is free, further ones do not matter.
// Errors "[import FILE:LINE] ...": a column that is not there, a user or item that the dataset does not have, a score
// that is no number in [0, 1].
RankerPairs read_ranker_pairs(const std::string& csv, const Dataset& data);
RankerPairs read_ranker_pairs(const std::string& csv, const IdTable& users, const IdTable& items,
                              const std::vector<std::string>& tasks);

// The file in which a dataset or a run keeps its own (docs/formats.md).
constexpr const char* kRankerPairsFile = "ranker_pairs.safetensors";
void save_ranker_pairs(const std::string& path, const RankerPairs& pairs);  // atomic; not for none
// Error "[dataset PATH] ..." for what does not fit the dataset.
RankerPairs load_ranker_pairs(const std::string& path, const Dataset& data);
RankerPairs load_ranker_pairs(const Dataset& data);  // the dataset's own; none where it holds none

// Error "[WHERE] ..." for lengths that differ, rows out of range and scores outside [0, 1].
void check_ranker_pairs(const std::string& where, const RankerPairs& pairs, int64_t users, int64_t items,
                        const std::vector<std::string>& tasks);

}  // namespace tt
