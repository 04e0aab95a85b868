#pragma once
// Trains a model on a dataset and leaves a run folder (run.h) behind, evaluating and checkpointing as it goes.

#include <twotower/train/data/dataset.h>
#include <twotower/train/data/ranker_pairs.h>
#include <twotower/train/evaluate/metrics.h>
#include <twotower/train/run/config.h>

#include <functional>
#include <string>

namespace tt {

struct TrainProgress {
  int64_t epoch = 0, epochs = 0, batch = 0, batches = 0;
  double loss = 0, examples_per_second = 0;
};

struct TrainOptions {
  bool resume = false;  // go on from the last checkpoint in the folder, if there is one
  // Pairs that the main ranker was asked about, on top of those that the dataset holds. The run keeps a copy: to resume
  // it, give the same or none.
  RankerPairs ranker_pairs;
  std::function<void(const TrainProgress&)> progress;  // after every batch
  std::function<void(const std::string&)> message;     // a line for people: an epoch's result, a warning
};

struct TrainSummary {
  int64_t epochs = 0, best_epoch = 0, steps = 0, parameters = 0;
  double seconds = 0, final_loss = 0;
  std::string monitor;
  double best = 0;         // of the monitor; NaN without a validation split
  Measures best_measures;  // on the validation split, at the best epoch
  std::string warning;     // over-optimisation of the alignment, if it was seen
};

// `config` must fit the data (fit_config_to_data). Everything that can be refused is refused before training starts
// and before anything is written.
TrainSummary train(const RunConfig& config, const Dataset& data, const std::string& out_dir,
                   const TrainOptions& options = {});

}  // namespace tt
