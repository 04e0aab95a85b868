#pragma once
// The probability that a latent-factor world gives a pair; the simulator's truth and its main ranker are one
// each.

#include <cmath>
#include <cstdint>

namespace tt {

// logit_t(u, i) = offset_t + gain_t * ( sum_k user_uk * task_tk * item_ik + quality_i )
struct LatentScorer {
  const float *user = nullptr, *item = nullptr, *quality = nullptr;  // [U, L], [C, L], [C]
  const float *task = nullptr, *offset = nullptr, *gain = nullptr;   // [T, L], [T], [T]
  int64_t latent = 0;                                                // L

  double affinity(int64_t u, int64_t i, int64_t t) const {  // the bracket above
    const float *x = user + u * latent, *y = item + i * latent, *m = task + t * latent;
    double sum = quality[i];
    for (int64_t k = 0; k < latent; ++k) sum += static_cast<double>(x[k]) * m[k] * y[k];
    return sum;
  }
  double probability(int64_t u, int64_t i, int64_t t) const {
    return 1.0 / (1.0 + std::exp(-(offset[t] + gain[t] * affinity(u, i, t))));
  }
};

}  // namespace tt
