#pragma once
// What the commands share in talking to a person while they work.

#include <twotower/train/commands/shared/time_left.h>
#include <twotower/train/fit/trainer.h>

#include <string>

namespace tt {

// Progress of a training: a live line with rate and time left on a terminal, a plain line now and then elsewhere,
// nothing when quiet.
class ProgressLine {
 public:
  explicit ProgressLine(bool quiet);
  void show(const TrainProgress& progress);
  void message(const std::string& line);  // clears the live line first

 private:
  bool quiet_, terminal_;
  TimeLeft time_left_;
  double last_ = 0;
  size_t drawn_ = 0;
};

}  // namespace tt
