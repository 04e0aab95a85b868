#pragma once

#include <twotower/train/baselines/baseline.h>
#include <twotower/train/baselines/known_actions.h>

#include <optional>

namespace tt {

// EASE (Steck 2019, "Embarrassingly shallow autoencoders for sparse data"): the linear autoencoder with a zero diagonal
// in closed form. X [U, C] has a 1 for each item that a user acted on in training:
//   P = (X^T X + l2 I)^-1,   B_ij = -P_ij / P_jj, B_jj = 0,   score(u, j) = sum of B_ij over the items i known of u
class Ease final : public Baseline {
 public:
  static constexpr int64_t kMostItems = 20000;  // the inverse's time grows with the cube
  // As baseline.h has them; available: bytes of this machine's memory that are free.
  static std::string refusal(int64_t items, int64_t available);
  static std::string note(int64_t items);
  static int64_t available_bytes();

  explicit Ease(const BaselineOptions& options) : options_(options) {}
  void fit(const Dataset& data) override;
  void score(std::span<const UserMoment> users, float* out) const override;

 private:
  BaselineOptions options_;
  std::optional<KnownActions> known_;
  int64_t items_ = 0;
  std::vector<float> inverse_;  // P: [C, C]
};

}  // namespace tt
