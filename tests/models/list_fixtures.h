#pragma once
// A batch of lists for a model of tests/models/fixtures.h, with all that one can hold.

#include <twotower/models/list_batch.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/models/fixtures.h"

namespace tt::testing {

// Lists of 4, 6, 1, 5, 3, 4, ... items. Of every fifth entry the ranker said nothing, and nothing of all of row 3; a
// fourth of the entries was not shown. The numbers are the same for float and double.
template <class T>
class TinyLists {
 public:
  explicit TinyLists(const ModelConfig& config, int64_t rows = 5, uint64_t seed = 7)
      : users_(config, rows), random_(seed) {
    batch.user = users_.batch.user;
    const int64_t corpus = config.item_id_hash_size, lengths[] = {4, 6, 1, 5, 3}, tasks = config.num_tasks();
    const Tensor<int64_t> offsets = make_tensor<int64_t>(pool_, {rows + 1});
    for (int64_t i = 0; i < rows; ++i) offsets[i + 1] = offsets[i] + lengths[i % 5];
    const int64_t n = offsets[rows];
    const Tensor<int32_t> columns = make_tensor<int32_t>(pool_, {n});
    for (int64_t i = 0; i < rows; ++i)  // each item once a list
      for (int64_t k = offsets[i]; k < offsets[i + 1]; ++k)
        columns[k] = static_cast<int32_t>((i * 5 + 2 * (k - offsets[i])) % corpus);
    batch.lists = {offsets, columns};
    const Tensor<int64_t> ids = make_tensor<int64_t>(pool_, {corpus});
    for (int64_t j = 0; j < corpus; ++j) ids[j] = corpus - 1 - j;  // a column is not its item's row of the table
    batch.item.id = ids;
    batch.item.features = numbers(corpus, config.item_features_size, [&] { return random_.normal(next_++); });
    const auto uniform = [&] { return 0.05 + 0.9 * random_.uniform(next_++); };
    const Tensor<T> scores = numbers(n, tasks, uniform), labels = numbers(n, tasks, uniform);
    for (int64_t k = 0; k < n; ++k)
      for (int64_t t = 0; t < tasks; ++t) {
        labels.row(k)[t] = k % 4 == 1 ? kNothing : T(labels.row(k)[t] > T(0.6));
        if (k % 5 == 2 || (k >= offsets[3] && k < offsets[4])) scores.row(k)[t] = kNothing;
      }
    batch.ranker_scores = scores, batch.labels = labels;
    batch.examination = flat(n, [&] { return 0.2 + 0.7 * random_.uniform(next_++); });
    batch.value = flat(n, [&] { return random_.normal(next_++); });
    batch.log_q = flat(n, [&] { return -1.5 * random_.uniform(next_++); });
  }

  ListBatch<T> batch;

 private:
  static constexpr T kNothing = std::numeric_limits<T>::quiet_NaN();

  template <class F>
  Tensor<T> numbers(int64_t rows, int64_t cols, F f) {
    if (rows * cols == 0) return {};
    const Tensor<T> x = make_tensor<T>(pool_, {rows, cols});
    for (T& v : x) v = static_cast<T>(static_cast<float>(f()));
    return x;
  }
  template <class F>
  Tensor<const T> flat(int64_t n, F f) {
    const Tensor<T> x = numbers(n, 1, f);
    return {x.data(), {n}};
  }

  TinyBatch<T> users_;
  Pool pool_;
  Philox random_;
  uint64_t next_ = 0;
};

}  // namespace tt::testing
