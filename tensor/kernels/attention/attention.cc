#include <twotower/tensor/kernels/attention/attention.h>
#include <twotower/tensor/kernels/attention/attention_body.h>
#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <cassert>
#include <cmath>

namespace tt::kernels {
namespace {

// f(sequence, first row, length, workspace) for every sequence; chunks of about 2^18 multiply-adds, or one of all.
template <class T, class F>
void each_sequence(const int64_t* offsets, int64_t sequences, int64_t dim, bool square,
                   int64_t (*work)(int64_t, int64_t, int64_t), int64_t heads, bool one_chunk, F&& f) {
  if (sequences <= 0 || dim <= 0) return;
  const int64_t mean = (offsets[sequences] - offsets[0]) / sequences + 1;
  const int64_t cost = 2 * mean * dim * (square ? mean : heads);
  const int64_t chunk = one_chunk ? sequences : std::max<int64_t>(1, (1 << 18) / cost);
  parallel_for(0, sequences, chunk, [&](int64_t lo, int64_t hi) {
    int64_t longest = 0;
    for (int64_t s = lo; s < hi; ++s) longest = std::max(longest, offsets[s + 1] - offsets[s]);
    const auto bytes = static_cast<std::size_t>(work(longest, dim, heads)) * sizeof(T);
    auto* memory = static_cast<T*>(thread_scratch(1, bytes));
    for (int64_t s = lo; s < hi; ++s) f(s, offsets[s], offsets[s + 1] - offsets[s], memory);
  });
}

template <class T>
int64_t last_work(int64_t length, int64_t dim, int64_t heads) {
  return attention_last_work(attention_body<T>(), length, dim, heads);
}

}  // namespace

template <class T>
void make_causal_tables(const T* bias, int64_t heads, int64_t distances, T* tables) {
  assert(CausalBias<T>::numbers(heads, distances) == 2 * heads * causal_stride(distances));
  for (int64_t h = 0; h < heads; ++h, bias += distances) {
    T* const up = tables + 2 * h * causal_stride(distances) + kAttentionLanes;
    T* const down = up + causal_stride(distances) + distances - 1 - kAttentionLanes;
    std::fill_n(up - kAttentionLanes, 2 * causal_stride(distances), T(0));
    for (int64_t x = 1; x <= kAttentionLanes; ++x) up[-x] = down[x] = static_cast<T>(kNewer);
    for (int64_t x = 0; x < distances; ++x) up[x] = down[-x] = bias[x] * static_cast<T>(kLog2e);
  }
}

template <class T>
void attention_forward(const T* qkv, const int64_t* offsets, int64_t sequences, int64_t dim, int64_t heads, T* out,
                       T* stats, const CausalBias<T>& causal) {
  assert(heads > 0 && dim % heads == 0);
  const auto f = attention_body<T>().forward;
  each_sequence<T>(offsets, sequences, dim, true, attention_work, heads, false,
                   [=](int64_t, int64_t row, int64_t length, T* work) {
                     f(qkv + row * 3 * dim, length, dim, heads, causal.tables, causal.distances, out + row * dim,
                       stats == nullptr ? nullptr : stats + row * 2 * heads, work);
                   });
}

template <class T>
void attention_backward(const T* qkv, const T* out, const T* stats, const int64_t* offsets, int64_t sequences,
                        int64_t dim, int64_t heads, const T* dout, T* dqkv, const CausalBias<T>& causal, T* dbias) {
  assert(heads > 0 && dim % heads == 0);
  const auto f = attention_body<T>().backward;
  each_sequence<T>(offsets, sequences, dim, true, attention_work, heads, dbias != nullptr,
                   [=](int64_t, int64_t row, int64_t length, T* work) {
                     f(qkv + row * 3 * dim, out + row * dim, stats + row * 2 * heads, length, dim, heads, causal.tables,
                       causal.distances, dout + row * dim, dqkv + row * 3 * dim, dbias, work);
                   });
}

template <class T>
void attention_last_forward(const T* qk, const T* x, const int64_t* offsets, int64_t sequences, int64_t dim,
                            int64_t heads, T* pooled, const T* bias, int64_t distances) {
  assert(heads > 0 && dim % heads == 0);
  const auto f = attention_body<T>().last_forward;
  each_sequence<T>(
      offsets, sequences, dim, false, last_work<T>, heads, false, [=](int64_t s, int64_t row, int64_t length, T* work) {
        f(qk + s * heads * dim, x + row * dim, length, dim, heads, bias, distances, pooled + s * heads * dim, work);
      });
}

template <class T>
void attention_last_backward(const T* qk, const T* x, const int64_t* offsets, int64_t sequences, int64_t dim,
                             int64_t heads, const T* dpooled, T* dqk, T* dx, const T* bias, int64_t distances,
                             T* dscores) {
  assert(heads > 0 && dim % heads == 0);
  const auto f = attention_body<T>().last_backward;
  each_sequence<T>(
      offsets, sequences, dim, false, last_work<T>, heads, false, [=](int64_t s, int64_t row, int64_t length, T* work) {
        const int64_t at = s * heads * dim;
        f(qk + at, x + row * dim, length, dim, heads, bias, distances, dpooled + at, dqk + at,
          dx == nullptr ? nullptr : dx + row * dim, dscores == nullptr ? nullptr : dscores + row * heads, work);
      });
}

#define TT_INSTANTIATE(T)                                                                                             \
  template void make_causal_tables(const T*, int64_t, int64_t, T*);                                                   \
  template void attention_forward(const T*, const int64_t*, int64_t, int64_t, int64_t, T*, T*, const CausalBias<T>&); \
  template void attention_backward(const T*, const T*, const T*, const int64_t*, int64_t, int64_t, int64_t, const T*, \
                                   T*, const CausalBias<T>&, T*);                                                     \
  template void attention_last_forward(const T*, const T*, const int64_t*, int64_t, int64_t, int64_t, T*, const T*,   \
                                       int64_t);                                                                      \
  template void attention_last_backward(const T*, const T*, const int64_t*, int64_t, int64_t, int64_t, const T*, T*,  \
                                        T*, const T*, int64_t, T*);
TT_INSTANTIATE(float)
TT_INSTANTIATE(double)
#undef TT_INSTANTIATE

}  // namespace tt::kernels
