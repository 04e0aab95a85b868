#pragma once
// The items of the last batches, kept with the vectors that they had then, as further negatives (cross-batch memory:
// Wang et al. 2020, "Cross-batch memory for embedding learning").
//
// One object with two ends, since a batch is made before the step on the one before it is done: whoever makes batches
// announces a batch's items, and the training step gives their vectors later, in the same order. No lock is needed: the
// loader's hand-over of a batch orders the two.

#include <twotower/models/batch.h>
#include <twotower/tensor/files/safetensors.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

namespace tt {

class NegativeQueue {
 public:
  // capacity: items kept; width: of their vectors; batch: the most items announced at once.
  NegativeQueue(int64_t capacity, int64_t width, int64_t batch);

  // For the maker of batches: the items that the next batch will have beside its own, oldest first; then its own.
  int64_t size() const { return std::min<int64_t>(announced_, capacity_); }
  Tensor<const int64_t> ids(Arena& arena) const;  // [size()]
  void announce(const int64_t* items, int64_t n);
  // Forgets what was announced and never trained on: an epoch was left early.
  void drop_announced() { announced_ = given_; }

  // For the training step: a batch's queued items [Q], with their vectors as they are now, and then the vectors [n, DI]
  // of the items that were announced with that batch. Both throw Error for items that are not the queue's.
  QueuedItems<float> with_vectors(Tensor<const int64_t> ids, Arena& arena) const;
  void give(const Tensor<float>& vectors);

  // "queue.ids", "queue.vectors": what a resumed training goes on with. load_state throws Error for another size.
  // The writer's views live until the next call.
  void add_state(SafetensorsWriter& writer);
  void load_state(const SafetensorsFile& file);

 private:
  int64_t at(int64_t number) const { return number % slots_; }

  int64_t capacity_, width_, slots_;
  // Items so far. The loader's thread announces a batch while the trainer gives the one before: the rows that they
  // touch are apart, and the count is atomic.
  std::atomic<int64_t> announced_ = 0;
  int64_t given_ = 0;
  std::vector<int64_t> ids_;    // [slots], a ring
  std::vector<float> vectors_;  // [slots, DI]
  std::vector<int64_t> saved_ids_;
  std::vector<float> saved_vectors_;
};

}  // namespace tt
