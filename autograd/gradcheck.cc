#include <twotower/autograd/gradcheck.h>
#include <twotower/autograd/ops/elementwise/arithmetic.h>
#include <twotower/autograd/ops/rows/reduce.h>

#include <cmath>
#include <random>

namespace tt {
namespace {

using Parameters = std::vector<Parameter<double>*>;
using Function = std::function<Variable<double>(Tape<double>&)>;

// dL/dp as a dense array, whatever form the gradient has.
std::vector<double> dense_gradient(const Parameter<double>& p, const Gradient<double>& gradient) {
  std::vector<double> dense(static_cast<size_t>(p.value.numel()), 0.0);
  std::copy(gradient.dense.begin(), gradient.dense.end(), dense.begin());
  if (gradient.rows.count() > 0) add_rows(gradient.rows, Tensor<double>(dense.data(), p.value.shape()));
  return dense;
}

void check_loss(const Parameters& parameters, const Function& loss, double step, GradcheckReport& report) {
  Arena arena;
  std::vector<std::vector<double>> analytic;
  {
    Tape<double> tape(arena);
    const Gradients<double> gradients = tape.backward(loss(tape));
    for (const Parameter<double>* p : parameters) analytic.push_back(dense_gradient(*p, gradients.of(*p)));
    for (const Node<double>* node : tape.nodes())
      if (node->op) report.ops.insert(node->op->name);
    tape.reset();
  }
  const auto value_at = [&] {
    Tape<double> tape(arena, /*recording=*/false);
    const double v = loss(tape).item();
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
}

}  // namespace

GradcheckReport gradcheck(const Parameters& parameters, const Function& f, uint64_t seed, double step) {
  GradcheckReport report;
  for (const bool fresh : {true, false})
    check_loss(
        parameters,
        [&](Tape<double>& tape) {
          std::mt19937_64 random(seed);
          std::uniform_real_distribution<double> uniform(0.5, 1.5);
          const auto weighted_sum = [&](Variable<double> x) {
            const Tensor<double> weights = tape.make(x.shape());
            for (double& w : weights) w = uniform(random);
            return sum(multiply(x, tape.constant(weights)));
          };
          Variable<double> total = weighted_sum(f(tape));
          if (fresh) return total;
          total = add(total, weighted_sum(f(tape)));
          for (const Parameter<double>* p : parameters) total = add(total, weighted_sum(tape.parameter(*p)));
          return total;
        },
        step, report);
  return report;
}

}  // namespace tt
