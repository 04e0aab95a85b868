#pragma once
// What simple methods give, to be known before towers are trained: each learns from what training may see, and is
// measured by the code that measures the model (train/evaluate/baseline_ranking.h).

#include <twotower/train/baselines/options.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/data/user_moment.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace tt {

class Baseline {
 public:
  virtual ~Baseline() = default;
  // Learns from the train split alone. The dataset must outlive the baseline. The same bits on any number of threads.
  virtual void fit(const Dataset& data) = 0;
  // out: [users, C], higher is better, finite; equal scores say nothing of which item is better. Of a user it knows
  // what KnownActions tells.
  virtual void score(std::span<const UserMoment> users, float* out) const = 0;
};

// "popularity", "recent" and "random" (train/evaluate/rankings.h), "itemknn", "markov", "ease", "als", "als_ranker".
const std::vector<std::string>& baseline_names();

// Error "[evaluate] ..." for a name that is none of these, with the nearest or all.
void check_baseline_name(const std::string& name);

// One that learns; null for the others.
std::unique_ptr<Baseline> make_baseline(const std::string& name, const BaselineOptions& options);

// Why the data, or this machine, cannot have it, with the mend; "" if they can.
std::string baseline_refusal(const std::string& name, const Dataset& data);

// What should be said before it is fitted: the memory that it takes, where that is much; or "".
std::string baseline_note(const std::string& name, const Dataset& data);

}  // namespace tt
