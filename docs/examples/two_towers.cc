// A two-tower model by hand: users and items become vectors, and the product of two ranks the items for a user.

#include <twotower/autograd/ops/losses/retrieval_losses.h>
#include <twotower/autograd/ops/rows/dot.h>
#include <twotower/layers/checkpoint.h>
#include <twotower/layers/embedding.h>
#include <twotower/layers/mlp.h>
#include <twotower/tensor/random.h>
#include <twotower/train/optim/adam.h>

#include <cmath>
#include <cstdio>
#include <numeric>

using namespace tt;
constexpr int64_t kUsers = 400, kItems = 200, kGenres = 8, kWidth = 16, kBatch = 256, kTop = 10;

// The world: a user chooses an item with probability pull / kTotal. A user's own genre pulls ten times as hard.
// Every genre has items of popularity 25, 24, ... 1, so an item is chosen, and becomes a negative, as often as it is
// popular: log Q is log popularity.
constexpr double kTotal = (10 + 7) * 25 * 26 / 2;
double popularity(int64_t item) { return static_cast<double>(25 - item / kGenres); }
double pull(int64_t user, int64_t item) { return popularity(item) * (user % kGenres == item % kGenres ? 10 : 1); }

struct TwoTowers {
  Variable<float> user(Tape<float>& tape, Tensor<int64_t> id) const { return user_tower(tape, {users(tape, id)}); }
  Variable<float> item(Tape<float>& tape, Tensor<int64_t> id) const { return item_tower(tape, items(tape, id)); }
  ParameterSet<float> parameters;
  Embedding<float> users{parameters, "user", kUsers, kWidth}, items{parameters, "item", kItems, kWidth};
  Linear<float> user_tower{parameters, "user_tower", kWidth, kWidth};
  Mlp<float> item_tower{parameters, "item_tower", {kWidth, 2 * kWidth, kWidth}};
};

void train(TwoTowers& model) {
  Arena arena;
  Tape<float> tape(arena);
  Adam<float> adam({.learning_rate = 0.01, .weight_decay = 1e-3});
  for (uint64_t step = 0; step < 600; ++step, tape.reset()) {
    const Tensor<int64_t> user = make_tensor<int64_t>(arena, {kBatch}), item = make_tensor<int64_t>(arena, {kBatch});
    const Tensor<float> log_q = tape.make({kBatch}), weight = tape.make({kBatch});
    for (int64_t i = 0; i < kBatch; ++i) {
      user[i] = static_cast<int64_t>(Philox(1, step).below(static_cast<uint64_t>(i), kUsers)), item[i] = 0;
      double rest = kTotal * Philox(2, step).uniform(static_cast<uint64_t>(i));
      while (item[i] + 1 < kItems && (rest -= pull(user[i], item[i])) > 0) ++item[i];
      log_q[i] = static_cast<float>(std::log(popularity(item[i]))), weight[i] = 1;
    }
    const Variable<float> u = model.user(tape, user), v = model.item(tape, item);
    const Variable<float> loss = in_batch_softmax(u, v, tape.scalar(1), tape.constant(weight), {.log_q = log_q});
    adam.step(model.parameters.all(), tape.backward(loss));
  }
}

// The chance that a user's next choice is among the ten items that `score` ranks first, over all users.
double recall(auto score) {
  double sum = 0;
  for (int64_t user = 0; user < kUsers; ++user) {
    std::vector<int64_t> items(kItems);
    std::iota(items.begin(), items.end(), 0);
    std::sort(items.begin(), items.end(), [&](int64_t a, int64_t b) { return score(user, a) > score(user, b); });
    for (size_t k = 0; k < kTop; ++k) sum += pull(user, items[k]);
  }
  return sum / (kTotal * kUsers);
}

int main() {
  TwoTowers trained, model;
  train(trained);
  save_parameters("two_towers.safetensors", trained.parameters);
  load_parameters("two_towers.safetensors", model.parameters);
  Arena arena;
  Tape<float> tape(arena, /*recording=*/false);
  const Tensor<int64_t> ids = make_tensor<int64_t>(arena, {kUsers});
  std::iota(ids.begin(), ids.end(), 0);
  const Tensor<float> u = model.user(tape, ids).value(), v = model.item(tape, {ids.data(), {kItems}}).value();
  const auto score = [&](int64_t user, int64_t item) { return dot(u.row(user), v.row(item), kWidth); };
  const double found = recall(score), popular = recall([](int64_t, int64_t item) { return popularity(item); });
  std::printf("recall@10 %.3f  by popularity %.3f, by the truth %.3f\n", found, popular, recall(pull));
  return found > 0.9 * recall(pull) ? 0 : 1;
}
