#pragma once
// One batch of an impression log, as the models read it. All fields are views; B rows.

#include <twotower/autograd/ops/retrieval_losses.h>
#include <twotower/tensor/tensor.h>

namespace tt {

// Everything known of a set of users (a batch's, or the ones to serve).
template <class T>
struct UserInputs {
  Tensor<const int64_t> id;               // [B], -1: unknown
  Tensor<const T> features;               // [B, IU]
  Tensor<const int64_t> history_offsets;  // [B + 1]
  Tensor<const int64_t> history_items;    // [offsets[B]], newest first within a user
  Tensor<const uint8_t> history_actions;  // [offsets[B], A] or empty
  // Dropout (Srivastava et al. 2014), in training only: factors of the embeddings' elements, 0 or 1 / (1 - share).
  Tensor<const T> id_dropout;       // [B, DU] or empty
  Tensor<const T> history_dropout;  // [offsets[B], DI] or empty
};

template <class T>
struct ItemInputs {
  Tensor<const int64_t> id;  // [C], -1: unknown
  Tensor<const T> features;  // [C, II]
};

template <class T>
struct Batch {
  UserInputs<T> user;
  ItemInputs<T> item;              // the items shown
  Tensor<const int32_t> position;  // [B]; may be empty if nothing debiases by position
  Tensor<const T> labels;          // [B, T]
  Tensor<const T> ranker_scores;   // [B, T] or empty

  ItemInputs<T> negatives;   // further columns of the softmax: N' of mixed sampling, or the whole corpus
  Tensor<const T> queue;     // [Q, DI] item vectors of earlier batches, further columns still; constants
  Candidates<T> candidates;  // log Q, masks and, with the whole corpus as columns, each row's target

  int64_t size() const { return user.id.numel(); }
};

// The accidental hits of a batch: column j != i is left out of row i if it holds row i's own item or another item that
// row i's user acted on in the batch. Columns beyond the batch (further_ids) are left out where they hold such an item.
Exclusions accidental_hits(Tensor<const int64_t> user_ids, Tensor<const int64_t> item_ids,
                           Tensor<const int64_t> further_ids, Arena& arena);

}  // namespace tt
