#pragma once
// The probability that a latent-factor world gives a pair; the simulator's truth and its main ranker are one
// each.

#include <cmath>
#include <cstdint>

namespace tt {

// logit_t(u, i) = offset_t + gain_t * ( sum_k user_uk * task_tk * item_ik + quality_i ) + shift_i
// u is a row of the users' vectors: a user or, where interests drift, a user as of some time.
struct LatentScorer {
  const float *user = nullptr, *item = nullptr, *quality = nullptr;  // [rows, L], [C, L], [C]
  const float *task = nullptr, *offset = nullptr, *gain = nullptr;   // [T, L], [T], [T]
  const float* shift = nullptr;                                      // [C], or null: 0
  int64_t latent = 0;                                                // L

  double affinity(int64_t u, int64_t i, int64_t t) const {  // the bracket above
    const float *x = user + u * latent, *y = item + i * latent, *m = task + t * latent;
    double sum = quality[i];
    for (int64_t k = 0; k < latent; ++k) sum += static_cast<double>(x[k]) * m[k] * y[k];
    return sum;
  }
  double logit(int64_t u, int64_t i, int64_t t) const {
    const double logit = offset[t] + gain[t] * affinity(u, i, t);
    return shift ? logit + shift[i] : logit;
  }
  double probability(int64_t u, int64_t i, int64_t t) const { return 1.0 / (1.0 + std::exp(-logit(u, i, t))); }
};

}  // namespace tt
