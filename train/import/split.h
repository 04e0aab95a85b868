#pragma once
// Cuts a log into train, valid and test.

#include <twotower/train/data/dataset_content.h>

#include <cstdint>
#include <optional>
#include <string>

namespace tt {

// given             the files say
// time:F            the first F of the log by time is for training, the rest is test. Rows of equal time stay
//                   together, in the later part, unless that would leave a part without rows: then the cut is the next
//                   one that does not. With three different times every part has rows, with two valid has none
// random:F          the same shares, drawn at random from the seed
// leave-last-out    by user: what starts with the last action (positives.h) is test, what starts with the one before
//                   it valid, or train where nothing is held out; a user with fewer than three actions is all train
struct SplitRule {
  enum class Kind { given, time, random, leave_last_out };
  Kind kind = Kind::given;
  double fraction = 0.8;
  double hold_out = 0;  // share of the training part that is valid: the last by time, or drawn at random; of
                        // leave-last-out above 0: the action before the last
};

// hold_out: none stands for a tenth of time and random splits, the last but one of leave-last-out and nothing of given
// ones. Error "[split TEXT] ..." or "[import] --hold-out ...".
SplitRule parse_split(const std::string& text, std::optional<double> hold_out = {});
std::string split_protocol(const SplitRule& rule);  // in words

// Moves the rows of content.train (the whole log, in file order) into the three splits; `source` is for
// messages. Without times, file order stands for time, and a valid or test row comes after every train row.
void split_log(DatasetContent& content, const SplitRule& rule, bool has_time, uint64_t seed, const std::string& source);

}  // namespace tt
