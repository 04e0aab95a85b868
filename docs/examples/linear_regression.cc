// Linear regression: y = x w + b with a known w and b, found again by gradient descent from noisy examples.

#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/elementwise/functions.h>
#include <twotower/autograd/ops/rows/reduce.h>
#include <twotower/layers/linear.h>
#include <twotower/tensor/random.h>
#include <twotower/train/optim/sgd.h>

#include <cmath>
#include <cstdio>

using namespace tt;

int main() {
  constexpr int64_t kRows = 500, kColumns = 3;
  const float weight[kColumns] = {2, -1, 0.5f}, bias = 3, noise = 0.1f;

  // Random number i of a seed is always the same number: the data need no file.
  Pool pool;
  const Tensor<float> x = make_tensor<float>(pool, {kRows, kColumns}), y = make_tensor<float>(pool, {kRows, 1});
  Philox(/*seed=*/1).fill_normal(x.data(), x.numel(), 0.0f, 1.0f);
  Philox(/*seed=*/2).fill_normal(y.data(), y.numel(), bias, noise);
  for (int64_t i = 0; i < kRows; ++i)
    for (int64_t j = 0; j < kColumns; ++j) y[i] += x.row(i)[j] * weight[j];

  ParameterSet<float> parameters;
  const Linear<float> model(parameters, "model", kColumns, 1);
  Sgd<float> sgd({.learning_rate = 0.1});

  // A step: record the computation, walk it backwards, update the parameters, forget it.
  Arena arena;
  Tape<float> tape(arena);
  for (int step = 1; step <= 100; ++step) {
    const Variable<float> error = model(tape, {tape.constant(x)}) - tape.constant(y);
    const Variable<float> loss = mean(square(error));
    sgd.step(parameters.all(), tape.backward(loss));
    if (step % 20 == 0) std::printf("step %3d  mean squared error %.4f\n", step, static_cast<double>(loss.item()));
    tape.reset();
  }

  // The estimate of a weight from n rows is off by about noise / sqrt(n); four times that is chance no more.
  const float most = 4 * noise / std::sqrt(static_cast<float>(kRows));
  bool right = true;
  const auto compare = [&](const char* name, float found, float truth) {
    std::printf("%-6s %7.4f  should be %7.4f\n", name, static_cast<double>(found), static_cast<double>(truth));
    right = right && std::abs(found - truth) < most;
  };
  for (int64_t j = 0; j < kColumns; ++j) compare("weight", model.weight->value[j], weight[j]);
  compare("bias", model.bias->value[0], bias);
  return right ? 0 : 1;
}
