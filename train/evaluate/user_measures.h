#pragma once
// One user's measures, from what was returned to the user. metrics.h says what each name means.

#include <twotower/models/retrieval/index/top_items.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/evaluate/shown_order.h>
#include <twotower/train/simulate/truth.h>

#include <optional>

namespace tt {

// What the dataset says of items and users, beside the split itself.
struct CorpusFacts {
  CorpusFacts(const Dataset& data, bool with_truth);
  int64_t items = 0;
  const uint8_t* available = nullptr;  // Dataset::available
  const int64_t* positives = nullptr;  // [C] training positives
  double lift_base = 0;                // mean of `positives` over the training positives; 0: there are none
  std::vector<uint8_t> head;           // [C] 1: the most popular items that make up half of the training positives
  std::vector<uint8_t> warm_user;      // [U] 1: has training positives
  std::optional<Truth> truth;
  std::vector<float> weights;  // [T] label weights, for logged ranker scores
};

inline constexpr int64_t kFunnelN = 10;       // the ranker's own top N
inline constexpr int64_t kTrueRelevant = 20;  // items of highest true value that count as relevant

struct UserResult {
  int64_t user;
  double time;                        // as of when the truth is asked
  std::span<const int64_t> returned;  // best first
  std::span<const int32_t> expected;  // ascending, not empty
  std::span<const int32_t> seen;      // left out of the corpus for this user
  int64_t first_rank;                 // of the first expected item in the whole order; 0: it has none
  ShownOrder shown;
};

// What the measures of one user at one K are made of.
struct UserAtK {
  enum Kind { head, tail, cold };
  double hits[3] = {}, expected[3] = {};  // by kind of item
  double dcg = 0, ideal = 0, lift = 0, reciprocal_rank = 0;
  bool warm_user = false;
  // Against the main ranker's and the true values of the whole corpus.
  double agreement = 0, agreement_n = 0, funnel_value = 0, true_funnel_value = 0, kendall = 0;
  double true_recall = 0, true_ndcg = 0, value_lost = 0;
  ShownOrder shown = {};
};

// The measures that are averaged over users, each with its name: a column a measure.
class UserMeasures {
 public:
  // truth, logged: with those that need the truth, and the log's ranker scores.
  UserMeasures(const CorpusFacts& facts, std::vector<int64_t> ks, bool truth, bool logged);

  // Keeps its memory from user to user.
  struct Scratch {
    std::vector<float> values, best, retrieved, order;
    std::vector<int64_t> rows;
    std::vector<std::vector<int64_t>> shown;  // by K: the N of the K returned that the ranker would show, best first
    std::vector<int32_t> place;               // [C]
    std::vector<UserAtK> at;                  // [ks]
  };
  const std::vector<std::string>& names() const { return names_; }
  // out: [names().size()], NaN where the user has no such value.
  void values(const UserResult& user, Scratch& scratch, float* out) const;

 private:
  void look_at_accuracy(const UserResult& user, std::vector<UserAtK>& at) const;
  void look_at_ranker(const UserResult& user, Scratch& scratch) const;
  void look_at_truth(const UserResult& user, Scratch& scratch) const;

  struct Column {
    double (*value)(const UserAtK&);
    size_t k;  // of ks_
  };
  const CorpusFacts& facts_;
  std::vector<int64_t> ks_;
  bool truth_;
  std::vector<std::string> names_;
  std::vector<Column> columns_;
};

}  // namespace tt
