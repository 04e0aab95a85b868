#pragma once
// What simple methods give, to be known before towers are trained: each learns from what training may see, and is
// measured by the code that measures the model (train/evaluate/rankings/baseline_ranking.h).

#include <twotower/train/baselines/options.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/data/user_moment.h>

#include <functional>
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

// "popularity", "recent" and "random" (train/evaluate/rankings/rankings.h), "itemknn", "markov", "ease", "als",
// "als_ranker".
const std::vector<std::string>& baseline_names();

// Error "[evaluate] ..." for a name that is none of these, with the nearest or all.
void check_baseline_name(const std::string& name);

// One that learns; null for the others.
std::unique_ptr<Baseline> make_baseline(const std::string& name, const BaselineOptions& options);

// The names, each once; for "all" those that the data and this machine can have, and note (may be null) hears why
// others are left out. Error "[evaluate] ..." for a name that is none, and for one asked for by name that they cannot
// have.
std::vector<std::string> choose_baselines(const std::vector<std::string>& names, const Dataset& data,
                                          const std::function<void(const std::string&)>& note);

// What should be said before it is fitted: the memory that it takes, where that is much; or "".
std::string baseline_note(const std::string& name, const Dataset& data);

}  // namespace tt
