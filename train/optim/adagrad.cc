#include <twotower/tensor/kernels/optimizer/optimizer.h>
#include <twotower/train/optim/adagrad.h>

namespace tt {
namespace {

template <class Update>
kernels::AdagradStep kernel_step(const AdagradOptions& o, const Update& u) {
  return {u.learning_rate, o.epsilon, o.weight_decay, u.grad_scale};
}

}  // namespace

template <class T>
void Adagrad<T>::update(const Update& u, const T* grad, int64_t n) const {
  kernels::adagrad(kernel_step(options_, u), u.value, u.state[0], grad, n);
}

template <class T>
void Adagrad<T>::update_rows(const Update& u, int64_t width, const int64_t* rows, const T* grad, int64_t count) const {
  kernels::adagrad_rows(kernel_step(options_, u), u.value, u.state[0], width, rows, grad, count);
}

template class Adagrad<float>;
template class Adagrad<double>;

}  // namespace tt
