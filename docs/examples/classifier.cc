// A classifier: which of three rings a point of the plane lies in, learnt from labels of which a tenth are wrong.

#include <twotower/autograd/ops/elementwise/functions.h>
#include <twotower/autograd/ops/losses/cross_entropy.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/autograd/ops/rows/softmax.h>
#include <twotower/layers/layer_norm.h>
#include <twotower/layers/mlp.h>
#include <twotower/train/optim/adam.h>

#include <cmath>
#include <cstdio>

using namespace tt;

constexpr int64_t kClasses = 3, kWidth = 32, kBatch = 256;

// Two hidden layers, the second one normalised, with dropout before the output.
struct Classifier {
  explicit Classifier(ParameterSet<float>& set)
      : body(set, "body", {2, kWidth, kWidth}), norm(set, "norm", kWidth), head(set, "head", kWidth, kClasses) {}

  Variable<float> operator()(Tape<float>& tape, Tensor<const float> x, double drop, const Philox& random) const {
    const Variable<float> hidden = relu(norm(tape, body(tape, tape.constant(x))));
    return head(tape, {dropout(hidden, drop, random)});  // [rows, classes]
  }
  Mlp<float> body;
  LayerNorm<float> norm;
  Linear<float> head;
};

struct Examples {
  explicit Examples(int64_t n, uint64_t seed)
      : x(make_tensor<float>(pool, {n, 2})), label(make_tensor<int64_t>(pool, {n})) {
    const Philox random(seed);
    for (int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<uint64_t>(4 * i);
      const double radius = 3 * random.uniform(at), angle = 6.2831853 * random.uniform(at + 1);
      x.row(i)[0] = static_cast<float>(radius * std::cos(angle));
      x.row(i)[1] = static_cast<float>(radius * std::sin(angle));
      const bool wrong = random.uniform(at + 2) < 0.1;
      label[i] = (static_cast<int64_t>(radius) + (wrong ? 1 + static_cast<int64_t>(random.below(at + 3, 2)) : 0)) % 3;
      right += wrong ? 0 : 1.0 / static_cast<double>(n);
    }
  }
  Pool pool;
  Tensor<float> x;
  Tensor<int64_t> label;
  double right = 0;  // the share of right labels: the accuracy of whoever knows the rings
};

int main() {
  const Examples train(20 * kBatch, /*seed=*/1), held_out(2000, /*seed=*/2);
  ParameterSet<float> parameters;
  const Classifier model(parameters);
  Adam<float> adam({.learning_rate = 0.01});
  Arena arena;
  Tape<float> tape(arena);
  for (int64_t step = 0; step < 400; ++step) {
    const int64_t row = step % 20 * kBatch;
    const Tensor<const float> x(train.x.row(row), {kBatch, 2});
    const Variable<float> logits = model(tape, x, /*drop=*/0.1, Philox(/*seed=*/3, static_cast<uint64_t>(step)));
    const Variable<float> loss = mean(cross_entropy(logits, Tensor<const int64_t>(&train.label[row], {kBatch})));
    adam.step(parameters.all(), tape.backward(loss));
    if (step % 100 == 99) std::printf("step %3ld  loss %.3f\n", step + 1, static_cast<double>(loss.item()));
    tape.reset();
  }

  Tape<float> values(arena, /*recording=*/false);
  const Tensor<float> score = log_softmax_rows(model(values, held_out.x, /*drop=*/0, Philox(3))).value();
  double accuracy = 0;
  for (int64_t i = 0; i < score.rows(); ++i)
    accuracy += std::max_element(score.row(i), score.row(i) + kClasses) - score.row(i) == held_out.label[i];
  accuracy /= static_cast<double>(score.rows());
  std::printf("held-out accuracy %.3f  at most %.3f, by chance 0.333\n", accuracy, held_out.right);
  return accuracy > held_out.right - 0.03 ? 0 : 1;
}
