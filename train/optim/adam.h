#pragma once
// Adam (Kingma & Ba 2015), with PyTorch's formula:
//   m = beta1 m + (1 - beta1) g     v = beta2 v + (1 - beta2) g^2
//   x -= rate / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + epsilon)

#include <twotower/tensor/error.h>
#include <twotower/train/optim/optimizer.h>

namespace tt {

struct AdamOptions {
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0;
};

template <class T>
class Adam : public Optimizer<T> {
 public:
  explicit Adam(const AdamOptions& options = {})
      : Optimizer<T>(options.learning_rate, {"moment1", "moment2"}), options_(options) {
    check(options_.beta1 >= 0 && options_.beta1 < 1, "adam", "beta1 = ", options_.beta1, "; it must be in [0, 1)");
    check(options_.beta2 >= 0 && options_.beta2 < 1, "adam", "beta2 = ", options_.beta2, "; it must be in [0, 1)");
    check(options_.epsilon > 0, "adam", "epsilon = ", options_.epsilon, "; it must be above 0");
  }

 private:
  using Update = typename Optimizer<T>::Update;
  void update(const Update& u, const T* grad, int64_t n) const override;
  void update_rows(const Update& u, int64_t width, const int64_t* rows, const T* grad, int64_t count) const override;

  AdamOptions options_;
};

}  // namespace tt
