#pragma once
// What the baselines leave open. The defaults were chosen on validation parts (docs/evaluate.md).

#include <cstdint>
#include <string>

namespace tt {

struct BaselineOptions {
  struct {
    int64_t neighbours = 200;  // the most similar items of each item
    double shrinkage = 50;     // added to the denominator of the cosine: what few users share counts less
  } itemknn;
  struct {
    int64_t steps = 5;           // transitions span at most so many, and as many last items speak
    double decay = 0.7;          // of their word from the last item back
    double normalisation = 0.5;  // divides an item's transitions by their sum to this power: 0 counts, 1 probabilities
  } markov;
  struct {
    double l2 = 200;
  } ease;
  struct {
    int64_t width = 64, sweeps = 15;
    double alpha = 5;  // the confidence of what a user acted on is 1 + alpha x its value, of all else 1
    double l2 = 20;
  } als;
  struct {
    int64_t width = 8, sweeps = 40;
    double l2 = 1;
  } als_ranker;
};

// "ease.l2=300". Error "[evaluate] ..." for a key that there is not, with the nearest or all, and for values out of
// range.
void set_baseline_key(BaselineOptions& options, const std::string& assignment);

}  // namespace tt
