#include <twotower/autograd/ops/rows/dot.h>
#include <twotower/autograd/ops/rows/row_loop.h>
#include <twotower/autograd/ops/sequences/offsets.h>
#include <twotower/autograd/ops/sequences/segments.h>

namespace tt {
namespace {

const Op kSegmentMean("segment_mean"), kPrefixMean("prefix_mean"), kSegmentFirst("segment_first"),
    kZeroIfEmpty("zero_if_empty"), kPositional("add_positional");

constexpr int64_t kSequences = 16;  // a chunk

}  // namespace

template <class T>
Variable<T> segment_mean(Variable<T> x, Tensor<const int64_t> offsets) {
  offsets = checked_offsets(kSegmentMean, x.tape(), offsets, x.rows());
  Tape<T>& tape = x.tape();
  const int64_t segments = offsets.numel() - 1, d = x.cols();
  const Tensor<T> xv = x.value(), y = tape.make({segments, d});
  const auto inverse_length = [=](int64_t s) {
    return T(1) / static_cast<T>(std::max<int64_t>(offsets[s + 1] - offsets[s], 1));
  };
  parallel_for(0, segments, kSequences, [&](int64_t lo, int64_t hi) {
    for (int64_t s = lo; s < hi; ++s) {
      T* to = y.data() + s * d;
      std::fill_n(to, d, T(0));
      for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r) add_times(to, xv.data() + r * d, T(1), d);
      for (int64_t j = 0; j < d; ++j) to[j] *= inverse_length(s);
    }
  });
  return tape.record(kSegmentMean, y, {x}, [=](const Tensor<T>& dout) {
    const Accumulator<T> dx = x.accumulator();
    parallel_for(0, segments, kSequences, [&](int64_t lo, int64_t hi) {
      T* to = dx.rows(offsets[lo], offsets[hi]);
      for (int64_t s = lo; s < hi; ++s)
        for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r, to += d)
          add_times(to, dout.data() + s * d, inverse_length(s), d);
    });
  });
}

template <class T>
Variable<T> prefix_mean(Variable<T> x, Tensor<const int64_t> offsets) {
  offsets = checked_offsets(kPrefixMean, x.tape(), offsets, x.rows());
  Tape<T>& tape = x.tape();
  const int64_t segments = offsets.numel() - 1, d = x.cols();
  const Tensor<T> xv = x.value(), y = tape.make({x.rows(), d});
  parallel_for(0, segments, kSequences, [&](int64_t lo, int64_t hi) {
    for (int64_t s = lo; s < hi; ++s)
      for (int64_t r = offsets[s + 1] - 1; r >= offsets[s]; --r) {  // the mean of n rows from that of n - 1
        const T *from = xv.data() + r * d, *older = y.data() + (r + 1) * d;
        T *to = y.data() + r * d, share = T(1) / static_cast<T>(offsets[s + 1] - r);
        if (r + 1 == offsets[s + 1]) std::copy_n(from, d, to);
        if (r + 1 < offsets[s + 1])
          for (int64_t j = 0; j < d; ++j) to[j] = older[j] + share * (from[j] - older[j]);
      }
  });
  return tape.record(kPrefixMean, y, {x}, [=](const Tensor<T>& dout) {
    const Accumulator<T> dx = x.accumulator();
    parallel_for(0, segments, kSequences, [&](int64_t lo, int64_t hi) {
      T* to = dx.rows(offsets[lo], offsets[hi]);
      for (int64_t s = lo; s < hi; ++s)
        for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r, to += d) {
          T* row = dout.data() + r * d;  // turned into the sum of what newer rows' means ask for
          const T share = T(1) / static_cast<T>(offsets[s + 1] - r);
          for (int64_t j = 0; j < d; ++j) row[j] *= share;
          if (r > offsets[s]) add_times(row, row - d, T(1), d);
          add_times(to, row, T(1), d);
        }
    });
  });
}

template <class T>
Variable<T> segment_first(Variable<T> x, Tensor<const int64_t> offsets) {
  offsets = checked_offsets(kSegmentFirst, x.tape(), offsets, x.rows());
  Tape<T>& tape = x.tape();
  const int64_t segments = offsets.numel() - 1, d = x.cols();
  const Tensor<T> y = tape.make({segments, d});
  for (int64_t s = 0; s < segments; ++s) {
    if (offsets[s] < offsets[s + 1])
      std::copy_n(x.value().data() + offsets[s] * d, d, y.data() + s * d);
    else
      std::fill_n(y.data() + s * d, d, T(0));
  }
  return tape.record(kSegmentFirst, y, {x}, [=](const Tensor<T>& dout) {
    const Accumulator<T> dx = x.accumulator();
    for (int64_t s = 0; s < segments; ++s)
      if (offsets[s] < offsets[s + 1]) add_times(dx.rows(offsets[s], offsets[s] + 1), dout.data() + s * d, T(1), d);
  });
}

template <class T>
Variable<T> zero_if_empty(Variable<T> x, Tensor<const int64_t> offsets) {
  check_offsets(kZeroIfEmpty, offsets);
  const int64_t sequences = offsets.numel() - 1, d = x.cols();
  check(x.rows() == sequences, kZeroIfEmpty.name, x.rows(), " rows for ", sequences, " sequences");
  Tape<T>& tape = x.tape();
  const Tensor<T> y = tape.make(x.shape());
  offsets = tape.keep(offsets);
  const auto empty = [=](int64_t s) { return offsets[s] == offsets[s + 1]; };
  std::copy(x.value().begin(), x.value().end(), y.data());
  for (int64_t s = 0; s < sequences; ++s)
    if (empty(s)) std::fill_n(y.data() + s * d, d, T(0));
  return tape.record(kZeroIfEmpty, y, {x}, [=](const Tensor<T>& dout) {
    add_each_row(x.accumulator(), [&](int64_t s, T* dx) {
      if (!empty(s)) add_times(dx, dout.data() + s * d, T(1), d);
    });
  });
}

template <class T>
Variable<T> add_positional(Variable<T> x, Tensor<const int64_t> offsets, Tensor<const T> encoding) {
  const int64_t sequences = offsets.numel() - 1, d = x.cols(), capacity = encoding.rows();
  check_offsets(kPositional, offsets, x.rows());
  check(encoding.cols() == d, kPositional.name, "encoding ", encoding.shape(), " does not fit ", x.shape());
  const Tensor<T> xv = x.value(), y = x.tape().make(x.shape());
  parallel_for(0, sequences, 4 * kSequences, [&](int64_t lo, int64_t hi) {
    for (int64_t s = lo; s < hi; ++s) {
      const int64_t length = offsets[s + 1] - offsets[s];
      check(length <= capacity, kPositional.name, "sequence ", s, " has ", length, " rows, more than the capacity ",
            capacity);
      const T* e = encoding.data() + (capacity - 1) * d;  // newest first, last row first
      const T* from = xv.data() + offsets[s] * d;
      T* to = y.data() + offsets[s] * d;
      for (int64_t r = 0; r < length; ++r, e -= d, from += d, to += d)
        for (int64_t j = 0; j < d; ++j) to[j] = from[j] + e[j];
    }
  });
  return x.tape().record_alias(kPositional, y, x);
}

#define TT_INSTANTIATE(T)                                                 \
  template Variable<T> segment_mean(Variable<T>, Tensor<const int64_t>);  \
  template Variable<T> prefix_mean(Variable<T>, Tensor<const int64_t>);   \
  template Variable<T> segment_first(Variable<T>, Tensor<const int64_t>); \
  template Variable<T> zero_if_empty(Variable<T>, Tensor<const int64_t>); \
  template Variable<T> add_positional(Variable<T>, Tensor<const int64_t>, Tensor<const T>);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt
