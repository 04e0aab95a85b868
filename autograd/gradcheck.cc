#include <twotower/autograd/gradcheck.h>
#include <twotower/autograd/ops/elementwise.h>
#include <twotower/autograd/ops/reduce.h>

#include <cmath>
#include <random>

namespace tt {
namespace {

// dL/dp as a dense array, whatever form the gradient has.
std::vector<double> dense_gradient(const Parameter<double>& p) {
  std::vector<double> dense(static_cast<size_t>(p.value.numel()), 0.0);
  if (p.grad) std::copy(p.grad.begin(), p.grad.end(), dense.begin());
  const int64_t d = p.value.cols();
  for (int64_t r = 0; r < p.row_grad.count(); ++r)
    for (int64_t j = 0; j < d; ++j)
      dense[static_cast<size_t>(p.row_grad.rows[r] * d + j)] += p.row_grad.values.row(r)[j];
  return dense;
}

}  // namespace

GradcheckReport gradcheck(const std::vector<Parameter<double>*>& parameters,
                          const std::function<Variable<double>(Tape<double>&)>& f, uint64_t seed, double step) {
  Arena arena;
  GradcheckReport report;
  const auto evaluate = [&](Tape<double>& tape) {
    std::mt19937_64 random(seed);
    std::uniform_real_distribution<double> uniform(0.5, 1.5);
    const auto weighted_sum = [&](Variable<double> x) {
      const Tensor<double> weights = tape.make(x.shape());
      for (double& w : weights) w = uniform(random);
      return sum(multiply(x, tape.constant(weights)));
    };
    Variable<double> total = add(weighted_sum(f(tape)), weighted_sum(f(tape)));
    for (Parameter<double>* p : parameters)
      if (!p->is_table) total = add(total, weighted_sum(tape.parameter(*p)));
    return total;
  };

  std::vector<std::vector<double>> analytic;
  {
    Tape<double> tape(arena);
    tape.backward(evaluate(tape));
    for (const Parameter<double>* p : parameters) analytic.push_back(dense_gradient(*p));
    for (const Node<double>* node : tape.nodes())
      if (node->op) report.ops.insert(node->op->name);
    tape.reset();
  }
  const auto value_at = [&] {
    Tape<double> tape(arena, /*recording=*/false);
    const double v = evaluate(tape).item();
    tape.reset();
    return v;
  };
  for (size_t k = 0; k < parameters.size(); ++k) {
    Tensor<double> x = parameters[k]->value;
    for (int64_t i = 0; i < x.numel(); ++i) {
      const double kept = x[i];
      x[i] = kept + step;
      const double above = value_at();
      x[i] = kept - step;
      const double below = value_at();
      x[i] = kept;
      const double numeric = (above - below) / (2 * step), exact = analytic[k][static_cast<size_t>(i)];
      const double error = std::abs(exact - numeric) / (1 + std::max(std::abs(exact), std::abs(numeric)));
      if (error > report.worst || std::isnan(error)) {
        report.worst = std::isnan(error) ? HUGE_VAL : error;
        report.where = parameters[k]->name + "[" + std::to_string(i) + "]: analytic " + std::to_string(exact) +
                       ", numeric " + std::to_string(numeric);
      }
    }
  }
  return report;
}

}  // namespace tt
