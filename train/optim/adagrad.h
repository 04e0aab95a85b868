#pragma once
// Adagrad (Duchi et al. 2011), with PyTorch's formula:   s += g^2     x -= rate * g / (sqrt(s) + epsilon)

#include <twotower/tensor/error.h>
#include <twotower/train/optim/optimizer.h>

namespace tt {

struct AdagradOptions {
  double learning_rate = 1e-2, epsilon = 1e-10;
  double weight_decay = 0;
};

template <class T>
class Adagrad : public Optimizer<T> {
 public:
  explicit Adagrad(const AdagradOptions& options = {})
      : Optimizer<T>(options.learning_rate, {"square_sum"}), options_(options) {
    check(options_.epsilon > 0, "adagrad", "epsilon = ", options_.epsilon, "; it must be above 0");
  }

 private:
  using Update = typename Optimizer<T>::Update;
  void update(const Update& u, const T* grad, int64_t n) const override;
  void update_rows(const Update& u, int64_t width, const int64_t* rows, const T* grad, int64_t count) const override;

  AdagradOptions options_;
};

}  // namespace tt
