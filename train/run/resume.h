#pragma once
// What a resumed training must have in common with the one that was stopped, to end as that would have ended.

#include <twotower/train/data/dataset.h>
#include <twotower/train/data/ranker_pairs.h>
#include <twotower/train/run/config.h>

#include <cstdint>
#include <string>

namespace tt {

// Throws Error "[train RUN] cannot resume: ..." unless `now` goes on from `before` after `epochs` epochs as if it had
// been `now` all along, on the same data. `now` may train longer and stop or evaluate at other times.
void check_resumable(const std::string& run, const RunConfig& before, const RunConfig& now, int64_t epochs);

// The ranker pairs with which the training in `run` goes on: its own copy, or `given` where there is nothing to resume.
// Throws Error "[train RUN] cannot resume: ..." where pairs are given and are others, and as given_ranker_pairs
// (run.h).
RankerPairs resumed_ranker_pairs(const std::string& run, const Dataset& data, const RankerPairs& given);

// Drops the lines of later epochs and one that was cut off: a training may be killed between its files.
void keep_metrics(const std::string& path, int64_t epochs);

}  // namespace tt
