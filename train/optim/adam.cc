#include <twotower/tensor/kernels/optimizer/optimizer.h>
#include <twotower/train/optim/adam.h>

namespace tt {
namespace {

template <class Update>
kernels::AdamStep kernel_step(const AdamOptions& o, const Update& u) {
  return {u.learning_rate, o.beta1, o.beta2, o.epsilon, o.weight_decay, u.grad_scale, u.step};
}

}  // namespace

template <class T>
void Adam<T>::update(const Update& u, const T* grad, int64_t n) const {
  kernels::adam(kernel_step(options_, u), u.value, u.state[0], u.state[1], grad, n);
}

template <class T>
void Adam<T>::update_rows(const Update& u, int64_t width, const int64_t* rows, const T* grad, int64_t count) const {
  kernels::adam_rows(kernel_step(options_, u), u.value, u.state[0], u.state[1], width, rows, grad, count);
}

template class Adam<float>;
template class Adam<double>;

}  // namespace tt
