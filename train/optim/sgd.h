#pragma once
// Stochastic gradient descent, with momentum as PyTorch has it:   m = momentum * m + g     x -= rate * m

#include <twotower/tensor/error.h>
#include <twotower/train/optim/optimizer.h>

namespace tt {

struct SgdOptions {
  double learning_rate = 1e-2, momentum = 0;  // momentum 0: x -= rate * g, and no state
  double weight_decay = 0;
};

template <class T>
class Sgd : public Optimizer<T> {
 public:
  explicit Sgd(const SgdOptions& options = {})
      : Optimizer<T>(options.learning_rate,
                     options.momentum > 0 ? std::vector<std::string>{"momentum"} : std::vector<std::string>{}),
        options_(options) {
    check(options_.momentum >= 0 && options_.momentum < 1, "sgd", "momentum = ", options_.momentum,
          "; it must be in [0, 1)");
  }

 private:
  using Update = typename Optimizer<T>::Update;
  void update(const Update& u, const T* grad, int64_t n) const override;
  void update_rows(const Update& u, int64_t width, const int64_t* rows, const T* grad, int64_t count) const override;

  SgdOptions options_;
};

}  // namespace tt
