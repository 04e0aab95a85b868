#include <twotower/autograd/ops/losses/cross_entropy.h>
#include <twotower/autograd/ops/rows/dot.h>
#include <twotower/autograd/ops/rows/row_loop.h>
#include <twotower/tensor/kernels/softmax/softmax.h>

#include <algorithm>
#include <cmath>

namespace tt {
namespace {

const Op kBce("bce_with_logits"), kExaminedBce("examined_bce_with_logits"), kCrossEntropy("cross_entropy");

}  // namespace

template <class T>
Variable<T> bce_with_logits(Variable<T> logits, Tensor<const T> targets) {
  check(logits.value().numel() == targets.numel() && targets.numel() > 0, kBce.name, "logits ", logits.shape(),
        " and targets ", targets.shape(), " must have the same, non-zero size");
  Tape<T>& tape = logits.tape();
  const Tensor<T> x = logits.value(), y = tape.make({1});
  targets = tape.keep(targets);
  const T share = T(1) / static_cast<T>(x.numel());
  T total = 0;
  for (int64_t i = 0; i < x.numel(); ++i)
    total += std::max(x[i], T(0)) - x[i] * targets[i] + std::log1p(std::exp(-std::abs(x[i])));
  y[0] = total * share;
  return tape.record(kBce, y, {logits}, [=](const Tensor<T>& dout) {
    add_elements(logits.accumulator(), [&](int64_t i) {
      const T p = 1 / (1 + std::exp(-x[i]));
      return dout[0] * share * (p - targets[i]);
    });
  });
}

// With s = exp(-|x|) and e the examination:
//   -log sigmoid(x)         = max(-x, 0) + log(1 + s)
//   where 1 - e + s is 0 (e = 1 and s too small to be a number), its logarithm is -x and s / (1 - e + s) is 1
//   -log(1 - e sigmoid(x))  = log(1 + s) - log(1 - e + s) for x > 0, log(1 + s) - log(1 + (1 - e) s)
//   otherwise
template <class T>
Variable<T> examined_bce_with_logits(Variable<T> logits, Tensor<const T> targets, Tensor<const T> examination) {
  const int64_t m = logits.rows(), n = logits.cols();
  check(m > 0 && targets.numel() == m * n && examination.numel() == m, kExaminedBce.name, "logits ", logits.shape(),
        " need as many targets, there are ", targets.numel(), ", and an examination a row, there are ",
        examination.numel());
  Tape<T>& tape = logits.tape();
  const Tensor<T> x = logits.value(), y = tape.make({1});
  targets = tape.keep(targets), examination = tape.keep(examination);
  const T share = T(1) / static_cast<T>(m * n);
  T total = 0;
  for (int64_t i = 0; i < m * n; ++i) {
    const T e = examination[i / n], s = std::exp(-std::abs(x[i])), softplus = std::log1p(s);
    const T hit = std::max(-x[i], T(0)) + softplus;
    const T rest = (1 - e) + s;
    const T miss = softplus - (x[i] <= 0 ? std::log1p((1 - e) * s) : rest > 0 ? std::log(rest) : -x[i]);
    total += targets[i] * hit + (1 - targets[i]) * miss;
  }
  y[0] = total * share;
  return tape.record(kExaminedBce, y, {logits}, [=](const Tensor<T>& dout) {
    add_elements(logits.accumulator(), [&](int64_t i) {
      const T e = examination[i / n], s = std::exp(-std::abs(x[i]));
      const T not_p = x[i] > 0 ? s / (1 + s) : 1 / (1 + s);  // 1 - sigmoid
      const T rest = x[i] > 0 ? 1 - e + s : 1 + (1 - e) * s;
      const T miss = e / (1 + s) * (rest > 0 ? s / rest : T(1));
      return dout[0] * share * ((1 - targets[i]) * miss - targets[i] * not_p);
    });
  });
}

template <class T>
Variable<T> cross_entropy(Variable<T> scores, Tensor<const int64_t> targets) {
  const int64_t m = scores.rows(), n = scores.cols();
  check(targets.numel() == m, kCrossEntropy.name, targets.numel(), " targets for ", m, " rows");
  for (int64_t i = 0; i < m; ++i)
    check(targets[i] >= 0 && targets[i] < n, kCrossEntropy.name, "target ", targets[i], " in row ", i,
          "; the columns are 0 to ", n - 1);
  Tape<T>& tape = scores.tape();
  const Tensor<T> s = scores.value(), y = tape.make({m}), p = tape.make({m, n});
  targets = tape.keep(targets);
  for (int64_t i = 0; i < m; ++i) {
    std::copy_n(s.row(i), n, p.row(i));
    y[i] = kernels::softmax(p.row(i), n) - s.row(i)[targets[i]];
  }
  return tape.record(kCrossEntropy, y, {scores}, [=](const Tensor<T>& dout) {
    add_each_row(scores.accumulator(), [&](int64_t i, T* ds) {
      add_times(ds, p.row(i), dout[i], n);
      ds[targets[i]] -= dout[i];
    });
  });
}

#define TT_INSTANTIATE(T)                                                                       \
  template Variable<T> bce_with_logits(Variable<T>, Tensor<const T>);                           \
  template Variable<T> examined_bce_with_logits(Variable<T>, Tensor<const T>, Tensor<const T>); \
  template Variable<T> cross_entropy(Variable<T>, Tensor<const int64_t>);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
