#include <twotower/tensor/error.h>
#include <twotower/train/batches/negative_queue.h>

#include <algorithm>

namespace tt {

// The loader may be two batches ahead of what the step has given: this one's items and the next one's.
NegativeQueue::NegativeQueue(int64_t capacity, int64_t width, int64_t batch)
    : capacity_(capacity), width_(width), slots_(capacity + 2 * batch) {
  check(capacity >= 1 && width >= 1 && batch >= 1, "queue", "capacity ", capacity, ", width ", width, " and batch ",
        batch, " must be at least 1");
  ids_.resize(static_cast<size_t>(slots_));
  vectors_.resize(static_cast<size_t>(slots_) * static_cast<size_t>(width_));
}

Tensor<const int64_t> NegativeQueue::ids(Arena& arena) const {
  const int64_t n = size();
  const Tensor<int64_t> out = make_tensor<int64_t>(arena, {n});
  for (int64_t i = 0; i < n; ++i) out[i] = ids_[at(announced_ - n + i)];
  return out;
}

void NegativeQueue::announce(const int64_t* items, int64_t n) {
  for (int64_t i = 0; i < n; ++i) ids_[at(announced_ + i)] = items[i];
  announced_ += n;
}

QueuedItems<float> NegativeQueue::with_vectors(Tensor<const int64_t> ids, Arena& arena) const {
  const int64_t n = ids.numel();
  check(n == std::min(given_, capacity_), "queue", "the batch has ", n, " queued items, the queue ",
        std::min(given_, capacity_), " with vectors; train on each batch, in the order in which they were made");
  const Tensor<float> vectors = make_tensor<float>(arena, {n, width_});
  for (int64_t i = 0; i < n; ++i) {
    const auto slot = static_cast<size_t>(at(given_ - n + i));
    check(ids_[slot] == ids[i], "queue", "the batch was made for item ", ids[i], " in place ", i,
          ", the queue holds item ", ids_[slot], "; train on each batch, in the order in which they were made");
    std::copy_n(vectors_.data() + slot * static_cast<size_t>(width_), width_, vectors.row(i));
  }
  return {ids, vectors};
}

void NegativeQueue::give(const Tensor<float>& vectors) {
  const int64_t n = vectors.rows();
  check(vectors.cols() == width_ && given_ + n <= announced_, "queue", "vectors of shape ", vectors.shape(), " for ",
        announced_ - given_, " announced items of width ", width_);
  for (int64_t i = 0; i < n; ++i)
    std::copy_n(vectors.row(i), width_,
                vectors_.data() + static_cast<size_t>(at(given_ + i)) * static_cast<size_t>(width_));
  given_ += n;
}

void NegativeQueue::add_state(SafetensorsWriter& writer) {
  const int64_t n = std::min(given_, capacity_);
  saved_ids_.resize(static_cast<size_t>(n));
  saved_vectors_.resize(static_cast<size_t>(n * width_));
  for (int64_t i = 0; i < n; ++i) {
    const auto slot = static_cast<size_t>(at(given_ - n + i));
    saved_ids_[static_cast<size_t>(i)] = ids_[slot];
    std::copy_n(vectors_.data() + slot * static_cast<size_t>(width_), width_, saved_vectors_.data() + i * width_);
  }
  writer.add("queue.ids", saved_ids_.data(), {n});
  writer.add("queue.vectors", saved_vectors_.data(), {n, width_});
}

void NegativeQueue::load_state(const SafetensorsFile& file) {
  const int64_t n = static_cast<int64_t>(file.entry("queue.ids").elements());
  check(n <= capacity_, "queue", "the file holds ", n, " queued items, model.negative_queue is ", capacity_);
  std::copy_n(file.data<int64_t>("queue.ids", {n}), n, ids_.data());
  std::copy_n(file.data<float>("queue.vectors", {n, width_}), n * width_, vectors_.data());
  announced_ = given_ = n;
}

}  // namespace tt
