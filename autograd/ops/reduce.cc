#include <twotower/autograd/ops/dot.h>
#include <twotower/autograd/ops/reduce.h>
#include <twotower/tensor/parallel.h>

#include <cmath>

namespace tt {
namespace {

const Op kSum("sum"), kMean("mean"), kMax("max"), kSoftmax("softmax_rows"), kRowDot("row_dot"),
    kNormalize("l2_normalize"), kLayerNorm("layer_norm"), kSegmentMean("segment_mean"), kSegmentFirst("segment_first"),
    kBlockDot("block_dot"), kBlockCombine("block_combine");

// A few tens of thousands of elements a chunk.
int64_t row_grain(int64_t cols) { return 16384 / (cols > 0 ? cols : 1) + 1; }

template <class T>
Variable<T> sum_times(const Op& op, Variable<T> x, T factor) {
  Tape<T>& tape = x.tape();
  const Tensor<T> y = tape.make({1});
  T total = 0;
  for (const T v : x.value()) total += v;
  y[0] = total * factor;
  return tape.record(op, y, {x}, [=](const Tensor<T>& dout) {
    const GradTarget<T> dx = x.grad_target();
    for (int64_t i = 0; i < x.value().numel(); ++i) dx.data[i] = (dx.add ? dx.data[i] : T(0)) + dout[0] * factor;
  });
}

template <class T>
void add_times(T* to, const T* from, T factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += factor * from[i];
}

}  // namespace

template <class T>
Variable<T> sum(Variable<T> x) {
  return sum_times(kSum, x, T(1));
}

template <class T>
Variable<T> mean(Variable<T> x) {
  check(x.value().numel() > 0, kMean.name, "the mean of no elements is not defined");
  return sum_times(kMean, x, T(1) / static_cast<T>(x.value().numel()));
}

template <class T>
Variable<T> max(Variable<T> x) {
  check(x.value().numel() > 0, kMax.name, "the maximum of no elements is not defined");
  Tape<T>& tape = x.tape();
  const Tensor<T> y = tape.make({1});
  y[0] = *std::max_element(x.value().begin(), x.value().end());
  return tape.record(kMax, y, {x}, [=](const Tensor<T>& dout) {
    const Tensor<T> dx = x.grad_to_add(), xv = x.value();
    const auto ties = std::count(xv.begin(), xv.end(), y[0]);
    for (int64_t i = 0; i < xv.numel(); ++i)
      if (xv[i] == y[0]) dx[i] += dout[0] / static_cast<T>(ties);
  });
}

template <class T>
Variable<T> softmax_rows(Variable<T> x) {
  Tape<T>& tape = x.tape();
  const int64_t m = x.rows(), n = x.cols();
  const Tensor<T> xv = x.value(), y = tape.make(x.shape());
  parallel_for(0, m, row_grain(n), [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) {
      const T top = *std::max_element(xv.row(i), xv.row(i) + n);
      T total = 0;
      for (int64_t j = 0; j < n; ++j) total += y.row(i)[j] = std::exp(xv.row(i)[j] - top);
      for (int64_t j = 0; j < n; ++j) y.row(i)[j] /= total;
    }
  });
  return tape.record(kSoftmax, y, {x}, [=](const Tensor<T>& dout) {  // dx = y * (dout - <dout, y>)
    const Tensor<T> dx = x.grad_to_add();
    parallel_for(0, m, row_grain(n), [&](int64_t lo, int64_t hi) {
      for (int64_t i = lo; i < hi; ++i) {
        const T inner = dot(dout.row(i), y.row(i), n);
        for (int64_t j = 0; j < n; ++j) dx.row(i)[j] += y.row(i)[j] * (dout.row(i)[j] - inner);
      }
    });
  });
}

template <class T>
Variable<T> row_dot(Variable<T> a, Variable<T> b) {
  check(a.shape() == b.shape(), kRowDot.name, "shapes differ: ", a.shape(), " and ", b.shape());
  Tape<T>& tape = a.tape();
  const int64_t m = a.rows(), d = a.cols();
  const Tensor<T> av = a.value(), bv = b.value(), y = tape.make({m, 1});
  for (int64_t i = 0; i < m; ++i) y[i] = dot(av.row(i), bv.row(i), d);
  return tape.record(kRowDot, y, {a, b}, [=](const Tensor<T>& dout) {
    if (a.requires_grad()) {
      const Tensor<T> da = a.grad_to_add();
      for (int64_t i = 0; i < m; ++i) add_times(da.row(i), bv.row(i), dout[i], d);
    }
    if (b.requires_grad()) {
      const Tensor<T> db = b.grad_to_add();
      for (int64_t i = 0; i < m; ++i) add_times(db.row(i), av.row(i), dout[i], d);
    }
  });
}

template <class T>
Variable<T> l2_normalize(Variable<T> x) {
  Tape<T>& tape = x.tape();
  const int64_t m = x.rows(), n = x.cols();
  const Tensor<T> xv = x.value(), y = tape.make(x.shape()), inverse = tape.make({m});
  parallel_for(0, m, row_grain(n), [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) {
      inverse[i] = 1 / std::max(std::sqrt(dot(xv.row(i), xv.row(i), n)), T(1e-12));
      for (int64_t j = 0; j < n; ++j) y.row(i)[j] = xv.row(i)[j] * inverse[i];
    }
  });
  return tape.record(kNormalize, y, {x}, [=](const Tensor<T>& dout) {  // dx = (dout - y <dout, y>) / |x|
    const Tensor<T> dx = x.grad_to_add();
    parallel_for(0, m, row_grain(n), [&](int64_t lo, int64_t hi) {
      for (int64_t i = lo; i < hi; ++i) {
        const T inner = dot(dout.row(i), y.row(i), n);
        for (int64_t j = 0; j < n; ++j) dx.row(i)[j] += (dout.row(i)[j] - y.row(i)[j] * inner) * inverse[i];
      }
    });
  });
}

template <class T>
Variable<T> layer_norm(Variable<T> x, Variable<T> gain, Variable<T> bias) {
  const int64_t m = x.rows(), n = x.cols();
  check(gain.value().numel() == n && bias.value().numel() == n, kLayerNorm.name, "gain and bias must have ", n,
        " elements");
  Tape<T>& tape = x.tape();
  const Tensor<T> xv = x.value(), y = tape.make(x.shape()), hat = tape.make(x.shape()), inverse = tape.make({m});
  const Tensor<T> g = gain.value(), b = bias.value();
  parallel_for(0, m, row_grain(n), [&](int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i) {
      T average = 0, variance = 0;
      for (int64_t j = 0; j < n; ++j) average += xv.row(i)[j];
      average /= static_cast<T>(n);
      for (int64_t j = 0; j < n; ++j) variance += (xv.row(i)[j] - average) * (xv.row(i)[j] - average);
      inverse[i] = 1 / std::sqrt(variance / static_cast<T>(n) + T(1e-5));
      for (int64_t j = 0; j < n; ++j) {
        hat.row(i)[j] = (xv.row(i)[j] - average) * inverse[i];
        y.row(i)[j] = hat.row(i)[j] * g[j] + b[j];
      }
    }
  });
  return tape.record(kLayerNorm, y, {x, gain, bias}, [=](const Tensor<T>& dout) {
    if (gain.requires_grad()) {
      const Tensor<T> dg = gain.grad_to_add(), db = bias.grad_to_add();
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) dg[j] += dout.row(i)[j] * hat.row(i)[j], db[j] += dout.row(i)[j];
    }
    if (!x.requires_grad()) return;
    const Tensor<T> dx = x.grad_to_add();
    parallel_for(0, m, row_grain(n), [&](int64_t lo, int64_t hi) {
      for (int64_t i = lo; i < hi; ++i) {  // with h = dout * gain: dx = (h - mean(h) - hat * mean(h * hat)) / sigma
        T mean_h = 0, mean_h_hat = 0;
        for (int64_t j = 0; j < n; ++j) {
          const T h = dout.row(i)[j] * g[j];
          mean_h += h, mean_h_hat += h * hat.row(i)[j];
        }
        mean_h /= static_cast<T>(n), mean_h_hat /= static_cast<T>(n);
        for (int64_t j = 0; j < n; ++j)
          dx.row(i)[j] += (dout.row(i)[j] * g[j] - mean_h - hat.row(i)[j] * mean_h_hat) * inverse[i];
      }
    });
  });
}

template <class T>
Variable<T> segment_mean(Variable<T> x, Tensor<const int64_t> offsets) {
  Tape<T>& tape = x.tape();
  const int64_t segments = offsets.numel() - 1, d = x.cols();
  const Tensor<T> xv = x.value(), y = tape.make({segments, d});
  parallel_for(0, segments, 16, [&](int64_t lo, int64_t hi) {
    for (int64_t s = lo; s < hi; ++s) {
      T* to = y.data() + s * d;
      std::fill_n(to, d, T(0));
      for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r) add_times(to, xv.data() + r * d, T(1), d);
      const T factor = T(1) / static_cast<T>(std::max<int64_t>(offsets[s + 1] - offsets[s], 1));
      for (int64_t j = 0; j < d; ++j) to[j] *= factor;
    }
  });
  return tape.record(kSegmentMean, y, {x}, [=](const Tensor<T>& dout) {
    const GradTarget<T> dx = x.grad_target();  // segments cover all rows
    parallel_for(0, segments, 16, [&](int64_t lo, int64_t hi) {
      for (int64_t s = lo; s < hi; ++s) {
        T* share = dout.data() + s * d;
        const T factor = T(1) / static_cast<T>(std::max<int64_t>(offsets[s + 1] - offsets[s], 1));
        for (int64_t j = 0; j < d; ++j) share[j] *= factor;
        for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r) {
          if (dx.add)
            add_times(dx.data + r * d, share, T(1), d);
          else
            std::copy_n(share, d, dx.data + r * d);
        }
      }
    });
  });
}

template <class T>
Variable<T> segment_first(Variable<T> x, Tensor<const int64_t> offsets) {
  Tape<T>& tape = x.tape();
  const int64_t segments = offsets.numel() - 1, d = x.cols();
  const Tensor<T> y = tape.make({segments, d});
  for (int64_t s = 0; s < segments; ++s) {
    if (offsets[s] < offsets[s + 1])
      std::copy_n(x.value().row(offsets[s]), d, y.row(s));
    else
      std::fill_n(y.row(s), d, T(0));
  }
  return tape.record(kSegmentFirst, y, {x}, [=](const Tensor<T>& dout) {
    const Tensor<T> dx = x.grad_to_add();
    for (int64_t s = 0; s < segments; ++s)
      if (offsets[s] < offsets[s + 1]) add_times(dx.row(offsets[s]), dout.row(s), T(1), d);
  });
}

template <class T>
Variable<T> block_dot(Variable<T> blocks, Variable<T> v) {
  const int64_t m = v.rows(), d = v.cols(), k = blocks.cols() / std::max<int64_t>(d, 1);
  check(blocks.rows() == m && k * d == blocks.cols(), kBlockDot.name, "blocks ", blocks.shape(),
        " do not fit the vectors ", v.shape());
  Tape<T>& tape = v.tape();
  const Tensor<T> uv = blocks.value(), vv = v.value(), y = tape.make({m, k});
  for (int64_t i = 0; i < m; ++i)
    for (int64_t b = 0; b < k; ++b) y.row(i)[b] = dot(uv.row(i) + b * d, vv.row(i), d);
  return tape.record(kBlockDot, y, {blocks, v}, [=](const Tensor<T>& dout) {
    const Tensor<T> du = blocks.requires_grad() ? blocks.grad_to_add() : Tensor<T>();
    const Tensor<T> dv = v.requires_grad() ? v.grad_to_add() : Tensor<T>();
    for (int64_t i = 0; i < m; ++i)
      for (int64_t b = 0; b < k; ++b) {
        if (du) add_times(du.row(i) + b * d, vv.row(i), dout.row(i)[b], d);
        if (dv) add_times(dv.row(i), uv.row(i) + b * d, dout.row(i)[b], d);
      }
  });
}

template <class T>
Variable<T> block_combine(Variable<T> weights, Variable<T> blocks) {
  const int64_t m = weights.rows(), k = weights.cols(), d = blocks.cols() / std::max<int64_t>(k, 1);
  check(blocks.rows() == m && k * d == blocks.cols(), kBlockCombine.name, "blocks ", blocks.shape(),
        " do not fit the weights ", weights.shape());
  Tape<T>& tape = weights.tape();
  const Tensor<T> wv = weights.value(), uv = blocks.value(), y = tape.make({m, d});
  y.fill(T(0));
  for (int64_t i = 0; i < m; ++i)
    for (int64_t b = 0; b < k; ++b) add_times(y.row(i), uv.row(i) + b * d, wv.row(i)[b], d);
  return tape.record(kBlockCombine, y, {weights, blocks}, [=](const Tensor<T>& dout) {
    const Tensor<T> dw = weights.requires_grad() ? weights.grad_to_add() : Tensor<T>();
    const Tensor<T> du = blocks.requires_grad() ? blocks.grad_to_add() : Tensor<T>();
    for (int64_t i = 0; i < m; ++i)
      for (int64_t b = 0; b < k; ++b) {
        if (dw) dw.row(i)[b] += dot(dout.row(i), uv.row(i) + b * d, d);
        if (du) add_times(du.row(i) + b * d, dout.row(i), wv.row(i)[b], d);
      }
  });
}

#define TT_INSTANTIATE(T)                                                 \
  template Variable<T> sum(Variable<T>);                                  \
  template Variable<T> mean(Variable<T>);                                 \
  template Variable<T> max(Variable<T>);                                  \
  template Variable<T> softmax_rows(Variable<T>);                         \
  template Variable<T> row_dot(Variable<T>, Variable<T>);                 \
  template Variable<T> l2_normalize(Variable<T>);                         \
  template Variable<T> layer_norm(Variable<T>, Variable<T>, Variable<T>); \
  template Variable<T> segment_mean(Variable<T>, Tensor<const int64_t>);  \
  template Variable<T> segment_first(Variable<T>, Tensor<const int64_t>); \
  template Variable<T> block_dot(Variable<T>, Variable<T>);               \
  template Variable<T> block_combine(Variable<T>, Variable<T>);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
