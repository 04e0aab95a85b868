#pragma once
// How good retrieval is, measured over the full corpus, a tile of users at a time.
//
// A user counts if the split has at least one item the user acted on (any label > 0). Each is served as of the first
// impression in the split: with the actions before it. By default items shown to the user in the splits before are
// neither returned nor expected. Averages are over users.
//   recall@K    hits / number of the user's test items         hit@K     1 if there is any hit
//   ndcg@K      binary gains, discount log2(rank + 1), ideal of min(K, test items)
//   mrr         1 / rank of the first test item in the whole order; with a light ranker 0 beyond the largest K
//   recall@K.head, .tail, .cold_items: recall of only those test items; head: the most popular items that make up half
//               of the training positives; cold: items without any; averaged over users who have such test items
//   recall@K.cold_users: recall of the users without training positives
//   accuracy@K  hits / number of test items, over all users' test items at once (TensorFlow Recommenders' "top-K
//               accuracy"): users with many weigh more
//   ips_recall@K  the same with each test item weighed by 1 / examination of the slot in which the user acted on it, as
//               estimated from the training split (examination.h): what accuracy@K would be had every slot been looked
//               at alike. Inverse propensity scores (Schnabel et al. 2016, "Recommendations as treatments"),
//               self-normalised (Swaminathan and Joachims 2015); an item acted on in several slots counts once for each
//   coverage@K  share of the corpus that was returned to anyone
//   lift@K      mean number of training positives of the returned items / the same mean over the training positives:
//               1 is as popular as what users act on
// The funnel: retrieval hands K items to the main ranker, which shows the N it values most; N = 10, or K where that is
// less. With a ranker that can score the whole corpus (the simulator's):
//   agreement@K, agreement@N:K        share of the ranker's own top K, or top N, that is among the K returned
//   funnel_value@N:K                  ranker value of the N it would show of the K returned / of the corpus's best N
//   true_funnel_value@N:K             true value of the same N / of the N of the corpus that have most of it: below 1
//                                     for a perfect retrieval, too, by what the ranker itself is wrong
//   kendall@K                         Kendall's tau-b between retrieval's order and the ranker's on the K returned
// or, from logged scores alone, on the items each user was shown in the split:
//   label_pairs                       share of the pairs of shown items with different labels that the model orders
//                                     likewise, each counted 1 / examination of its better item's slot
//   logged_kendall                    tau-b between the model's scores and the logged values
//   logged_pairs                      share of the pairs with different logged values that the model orders likewise
// Against the truth, where the dataset has one:
//   true_recall@K    recall of the 20 items of highest true value    true_ndcg@K   gains are true values
//   value_lost@K     1 - true value of the K returned / of the best K

#include <twotower/train/baselines/options.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/evaluate/serving.h>
#include <twotower/train/evaluate/statistics.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tt {

// Names and values, in order.
class Measures {
 public:
  void set(const std::string& name, double value);
  double operator[](const std::string& name) const;  // Error with the nearest name when absent
  bool has(const std::string& name) const;
  const std::vector<std::pair<std::string, double>>& all() const { return values_; }

 private:
  std::vector<std::pair<std::string, double>> values_;
};

// False if a larger value of the measure is the better one.
bool lower_is_better(const std::string& measure);

// The K of 10, 20 and 100 that can be returned of so many items at most; of fewer than 10 half of them.
std::vector<int64_t> default_ks(int64_t most);
// Those of a model as it is served.
std::vector<int64_t> default_ks(int64_t items, const ModelConfig& model);

struct EvaluateOptions {
  Split split = Split::test;
  std::vector<int64_t> ks = {10, 20, 100};  // none above what is returned at most
  bool include_seen = false;                // true: items of the splits before may be returned, and are expected
  bool baselines = true;                    // what simple methods give beside the model:
  // Which (baseline_names()), or "all" that the data can have. None: popularity and random; where the split is later
  // than train, also recent, the popularity of the last tenth of train's time.
  std::vector<std::string> baseline_names = {};
  BaselineOptions baseline_options = {};
  std::function<void(const std::string&)> note = nullptr;  // hears what the baselines take, a line at a time
  bool truth = true;       // measures against the truth and the main ranker, where the dataset has them
  bool shown = true;       // measures of how what users were shown is ordered: each user is encoded once more for them
  bool intervals = false;  // 95 % bootstrap intervals over users
  int64_t resamples = 1000;
  bool rerank = true;      // false: the towers alone, a light ranker left out
  int64_t candidates = 0;  // of a light ranker (Ask); 0: the model's own number
  int64_t max_users = 0;   // > 0: an evenly spaced sample of so many users, for a quick look while training
  uint64_t seed = 1;       // of the random baseline and the bootstrap
  Ask ask() const { return {.rerank = rerank, .candidates = candidates}; }
};

struct EvaluationResult {
  std::string protocol;  // in words
  int64_t users = 0;
  Measures measures;
  std::vector<Interval> intervals;
  std::vector<std::pair<std::string, Measures>> baselines;  // by name
  // The model less each baseline, paired over users, for the averages over users; with intervals alone.
  std::vector<std::vector<Difference>> differences;
  // The values behind the averages: [users, per_user_names.size()], NaN where a measure has none for a user.
  std::vector<std::string> per_user_names;
  std::vector<float> per_user;
  std::vector<int64_t> user_rows;
};

// Whether the split has a user with an item acted on and, unless include_seen, not seen before.
bool can_evaluate(const Dataset& data, Split split, bool include_seen = false);

// Keeps what does not change between evaluations of one split: for a trainer, which evaluates often.
class Evaluator {
 public:
  // The dataset must outlive it. Throws Error if the split has no user with a test item, for no K, K < 1 and K larger
  // than the corpus, and for baselines that there are not or that the data cannot have.
  Evaluator(const Dataset& data, const EvaluateOptions& options);
  ~Evaluator();
  EvaluationResult run(const ServedDataset& served) const;
  int64_t users() const;  // how many are evaluated
  // Whether some user has logged_pairs, or label_pairs: values that differ among what the user was shown.
  bool has_logged_pairs() const;
  bool has_label_pairs() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Once: Evaluator(served.data(), options).run(served).
EvaluationResult evaluate(const ServedDataset& served, const EvaluateOptions& options);

// The measures that a model on this dataset will have, for checking a name before training starts.
std::vector<std::string> measure_names(const Dataset& data, const EvaluateOptions& options);

}  // namespace tt
