#pragma once

#include <twotower/train/baselines/baseline.h>
#include <twotower/train/baselines/known_actions.h>
#include <twotower/train/baselines/matrices/sparse_rows.h>

#include <optional>

namespace tt {

// Matrix factorisation of implicit feedback by alternating least squares (Hu, Koren and Volinsky 2008, "Collaborative
// filtering for implicit feedback datasets"). r_ui is the value (the labels' weighted sum) of what user u did with item
// i in training, 0 for most:
//   sum over all u, i of c_ui (p_ui - x_u . y_i)^2 + l2 (sum |x_u|^2 + sum |y_i|^2),  p_ui = [r_ui > 0], c_ui = 1 +
//   alpha r_ui
// A user's x for a score is solved anew from what is known of the user, with the items' y as training left them.
class Als final : public Baseline {
 public:
  explicit Als(const BaselineOptions& options) : options_(options) {}
  void fit(const Dataset& data) override;
  void score(std::span<const UserMoment> users, float* out) const override;

  double objective() const;                                       // the sum above, which every sweep lowers
  const std::vector<double>& user_factors() const { return x_; }  // [U, width]
  const std::vector<double>& item_factors() const { return y_; }  // [C, width]

 private:
  BaselineOptions options_;
  const Dataset* data_ = nullptr;
  std::optional<KnownActions> known_;
  SparseRows by_user_;                  // r
  std::vector<double> x_, y_, gram_y_;  // gram_y_: y^T y
  std::vector<float> items_;            // y in floats
};

}  // namespace tt
