#pragma once
// One step of training: forward, backward, update. It owns what a step needs beside the model (tape, memory, optimizer
// state), so a steady run of steps allocates nothing.

#include <twotower/models/two_tower.h>
#include <twotower/train/batches/negative_queue.h>
#include <twotower/train/optim/optimizer.h>
#include <twotower/train/optim/weight_average.h>
#include <twotower/train/run/config.h>

#include <memory>
#include <optional>

namespace tt {

// The parts of the loss of one step; 0 for parts the model does not have.
struct StepLosses {
  double total = 0, retrieval = 0, debias = 0, ranker = 0, distillation = 0, proxy = 0, alignment = 0;
};

// The same of one step on lists.
struct ListLosses {
  double total = 0, towers = 0, ranker = 0, alignment = 0;
  double reward = 0;  // mean value of what the policy would choose from the lists, in the eyes of the reward
};

class TrainingStep {
 public:
  // queue: the loader's, whose items get their vectors from here; null: batches have none, or bring the vectors along.
  TrainingStep(TwoTower<float>& model, const TrainConfig& config, NegativeQueue* queue = nullptr);

  // Throws Error if the loss is not finite, or with clip_norm the gradient; the parameters are then still those of
  // before the step. Without clip_norm gradients are not looked at.
  StepLosses run(const Batch<float>& batch, double learning_rate, bool alignment_on = true);

  // The same for a batch of lists.
  ListLosses run(const ListBatch<float>& batch, double learning_rate, bool alignment_on = true);

  // mean_i sum_j pi_ij value_ij on the last batch that was watched: what the alignment's proxy ranker thinks of the
  // policy. A pass over all pairs of its own, so watch only the steps whose value is read.
  double expected_value() const { return expected_value_; }
  void watch_expected_value(bool watch) { watch_ = watch; }

  Optimizer<float>& optimizer() { return *optimizer_; }
  WeightAverage* average() { return average_ ? &*average_ : nullptr; }  // null with ema = 0
  const Tape<float>& tape() const { return tape_; }

 private:
  void update(Variable<float> loss, double learning_rate);

  TwoTower<float>& model_;
  NegativeQueue* queue_;
  double clip_norm_;
  std::unique_ptr<Optimizer<float>> optimizer_;
  std::optional<WeightAverage> average_;
  Arena arena_;
  Tape<float> tape_;
  double expected_value_ = 0;
  bool watch_ = false;
};

}  // namespace tt
