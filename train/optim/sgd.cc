#include <twotower/tensor/kernels/optimizer/optimizer.h>
#include <twotower/train/optim/sgd.h>

namespace tt {
namespace {

template <class Update>
kernels::SgdStep kernel_step(const SgdOptions& o, const Update& u) {
  return {u.learning_rate, o.momentum, o.weight_decay, u.grad_scale};
}

}  // namespace

template <class T>
void Sgd<T>::update(const Update& u, const T* grad, int64_t n) const {
  kernels::sgd(kernel_step(options_, u), u.value, u.state[0], grad, n);
}

template <class T>
void Sgd<T>::update_rows(const Update& u, int64_t width, const int64_t* rows, const T* grad, int64_t count) const {
  kernels::sgd_rows(kernel_step(options_, u), u.value, u.state[0], width, rows, grad, count);
}

template class Sgd<float>;
template class Sgd<double>;

}  // namespace tt
