#pragma once
// One batch of an impression log, as the models read it. All fields are views; B rows.

#include <twotower/autograd/ops/losses/retrieval_losses.h>
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
  // For a causal history encoder, which knows a user as of each action from one pass: the moments whose vectors are
  // asked for, each a user and the last action it knows, a row of history_items, or -1 before them all. Empty: each
  // user now.
  Tensor<const int64_t> moment_user, moment_row;  // [M]
  int64_t vectors() const { return moment_user.numel() > 0 ? moment_user.numel() : id.numel(); }

  // Dropout (Srivastava et al. 2014), in training only: factors of the embeddings' elements, 0 or 1 / (1 - share).
  Tensor<const T> id_dropout;       // [B, DU] or empty
  Tensor<const T> history_dropout;  // [offsets[B], DI] or empty
};

template <class T>
struct ItemInputs {
  Tensor<const int64_t> id;  // [C], -1: unknown
  Tensor<const T> features;  // [C, II]
};

// Items of earlier batches with their vectors as of then, which are constants.
template <class T>
struct QueuedItems {
  Tensor<const int64_t> id;  // [Q]
  Tensor<const T> vectors;   // [Q, DI]
};

template <class T>
struct Batch {
  // The users; rows of one user at one moment, such as those of a visit, may share one, who is then encoded once.
  UserInputs<T> user;
  Tensor<const int64_t> user_of;   // [B] which of the users (or moments) each row is of; empty: row i is of user i
  ItemInputs<T> item;              // the items shown
  Tensor<const int32_t> position;  // [B], -1 where unknown; may be empty if nothing debiases by position
  Tensor<const T> labels;         // [B, T]; may be empty if the rows have values of their own and no part learns labels
  Tensor<const T> value;          // [B] what each row is worth, or empty: the sum over labels of weight x label
  Tensor<const T> ranker_scores;  // [B, T] or empty

  ItemInputs<T> negatives;   // further columns of the softmax: N' of mixed sampling, or the whole corpus
  QueuedItems<T> queue;      // further columns still
  Candidates<T> candidates;  // log Q, masks and, with the whole corpus as columns, each row's target

  int64_t size() const { return user_of.numel() > 0 ? user_of.numel() : user.vectors(); }
};

// Whether the user acted on the item of each row of labels [B, T]: any label above 0, whatever it is worth. [B]
template <class T>
Tensor<const uint8_t> acted_on(Tensor<const T> labels, Arena& arena);

// The accidental hits of a batch: column j != i is left out of row i if it holds row i's own item or another item that
// row i's user acted on in the batch. What the user was shown and let pass stays: there are no better negatives.
// Columns beyond the batch (further_ids) are left out where they hold such an item. acted: [B], 0 for a row whose user
// did not act on its item; empty: all did.
Exclusions accidental_hits(Tensor<const int64_t> user_ids, Tensor<const int64_t> item_ids, Tensor<const uint8_t> acted,
                           Tensor<const int64_t> further_ids, Arena& arena);

}  // namespace tt
