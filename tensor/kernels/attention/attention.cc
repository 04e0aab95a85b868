#include <twotower/tensor/kernels/attention/attention.h>
#include <twotower/tensor/kernels/attention/attention_body.h>
#include <twotower/tensor/parallel.h>

#include <algorithm>
#include <cassert>

namespace tt::kernels {
namespace {

// f(sequence, first row, length, workspace) for every sequence; chunks of about 2^18 multiply-adds.
template <class F>
void each_sequence(const int64_t* offsets, int64_t sequences, int64_t dim, bool square,
                   int64_t (*work)(int64_t, int64_t, int64_t), int64_t heads, F&& f) {
  if (sequences <= 0) return;
  const int64_t mean = (offsets[sequences] - offsets[0]) / sequences + 1;
  const int64_t cost = 2 * mean * dim * (square ? mean : heads);
  parallel_for(0, sequences, std::max<int64_t>(1, (1 << 18) / cost), [&](int64_t lo, int64_t hi) {
    int64_t longest = 0;
    for (int64_t s = lo; s < hi; ++s) longest = std::max(longest, offsets[s + 1] - offsets[s]);
    const auto bytes = static_cast<std::size_t>(work(longest, dim, heads)) * sizeof(float);
    auto* memory = static_cast<float*>(thread_scratch(1, bytes));
    for (int64_t s = lo; s < hi; ++s) f(s, offsets[s], offsets[s + 1] - offsets[s], memory);
  });
}

int64_t last_work(int64_t length, int64_t dim, int64_t heads) {
  return attention_last_work(attention_body(), length, dim, heads);
}

}  // namespace

void attention_forward(const float* qkv, const int64_t* offsets, int64_t sequences, int64_t dim, int64_t heads,
                       float* out, float* stats) {
  assert(heads > 0 && dim % heads == 0);
  const auto f = attention_body().forward;
  each_sequence(offsets, sequences, dim, true, attention_work, heads,
                [=](int64_t, int64_t row, int64_t length, float* work) {
                  f(qkv + row * 3 * dim, length, dim, heads, out + row * dim,
                    stats == nullptr ? nullptr : stats + row * 2 * heads, work);
                });
}

void attention_backward(const float* qkv, const float* out, const float* stats, const int64_t* offsets,
                        int64_t sequences, int64_t dim, int64_t heads, const float* dout, float* dqkv) {
  assert(heads > 0 && dim % heads == 0);
  const auto f = attention_body().backward;
  each_sequence(offsets, sequences, dim, true, attention_work, heads,
                [=](int64_t, int64_t row, int64_t length, float* work) {
                  f(qkv + row * 3 * dim, out + row * dim, stats + row * 2 * heads, length, dim, heads, dout + row * dim,
                    dqkv + row * 3 * dim, work);
                });
}

void attention_last_forward(const float* qk, const float* x, const int64_t* offsets, int64_t sequences, int64_t dim,
                            int64_t heads, float* pooled) {
  assert(heads > 0 && dim % heads == 0);
  const auto f = attention_body().last_forward;
  each_sequence(offsets, sequences, dim, false, last_work, heads,
                [=](int64_t s, int64_t row, int64_t length, float* work) {
                  f(qk + s * heads * dim, x + row * dim, length, dim, heads, pooled + s * heads * dim, work);
                });
}

void attention_last_backward(const float* qk, const float* x, const int64_t* offsets, int64_t sequences, int64_t dim,
                             int64_t heads, const float* dpooled, float* dqk, float* dx, bool accumulate_dx) {
  assert(heads > 0 && dim % heads == 0);
  const auto f = attention_body().last_backward;
  each_sequence(
      offsets, sequences, dim, false, last_work, heads, [=](int64_t s, int64_t row, int64_t length, float* work) {
        const int64_t at = s * heads * dim;
        f(qk + at, x + row * dim, length, dim, heads, dpooled + at, dqk + at, dx + row * dim, accumulate_dx, work);
      });
}

}  // namespace tt::kernels
