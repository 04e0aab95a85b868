#pragma once
// How long a training will still take, judged by its own pace so far.

#include <limits>

namespace tt {

class TimeLeft {
 public:
  // now: seconds on any clock; done, all: epochs, with fractions. Returns seconds, NaN while too little is known. A
  // training that has done less than the last one shown is another one and is timed from here on; so is what a resumed
  // one did before.
  double operator()(double now, double done, double all) {
    if (!(done >= last_)) start_ = now, first_ = done;
    last_ = done;
    if (done - first_ < 0.05 || now <= start_) return std::numeric_limits<double>::quiet_NaN();
    return (now - start_) / (done - first_) * (all - done);
  }

 private:
  double start_ = 0, first_ = 0;
  double last_ = std::numeric_limits<double>::infinity();  // nothing has been shown
};

}  // namespace tt
