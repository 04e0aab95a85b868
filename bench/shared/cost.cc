#include "bench/shared/cost.h"

#include <cmath>

namespace tt::bench {
namespace {

constexpr double kFloat = 4, kId = 8;

class Counter {
 public:
  Cost cost;

  // y[m, n] = x[m, k] W^T: the product, dW = dy^T x and, where x needs a gradient, dx = dy W. What dW reads, x, was
  // written by the forward pass and must come back; W, its gradient and moments stay in the cache.
  void linear(double m, double k, double n, bool input_gradient = true) {
    cost.flops += 2 * m * k * n * (input_gradient ? 3 : 2);
    kept(m * k);
  }
  // A tensor that the forward pass leaves for the backward pass: written once, read once.
  void kept(double elements) { cost.bytes += 2 * elements * kFloat; }
  // Lookups of n uniform random rows of a table, and Adam on the distinct ones: parameter and both moments, read and
  // written. The gradient's rows are read once to be added up.
  void table(double lookups, double rows, double width) {
    const double distinct = rows * -std::expm1(lookups * std::log1p(-1 / rows));
    cost.bytes += lookups * (width * kFloat * 2 + kId) + distinct * width * kFloat * 6;
  }
  // A softmax over all pairs [b, b] of vectors: the dots, du = dS v, dv = dS^T u. Scores never leave the cache.
  void pairs(double b, double d) { cost.flops += 3 * 2 * b * b * d; }
};

// Multi-head attention as twotower's encoder has it. Scores and mixing: 2 * 2 L^2 D FLOPs a sequence whatever the
// number of heads, and four such products backwards (dP, dV, dQ, dK).
void history(Counter& count, double b, double length, double d, int64_t layers, int64_t heads) {
  const double tokens = b * length;
  for (int64_t layer = 0; layer + 1 < layers; ++layer) {
    count.linear(tokens, d, 3 * d);
    count.kept(tokens * 3 * d);
    count.cost.flops += b * 6 * 2 * length * length * d;
    count.linear(tokens, d, d);
  }
  // The last layer has one query a sequence: q = x_0 W_q, then W_k folded into it, one pass over the tokens for the
  // scores and one to pool them (each with its two gradients), W_v on what was pooled, the output projection.
  const double h = static_cast<double>(heads);
  count.linear(b, d, d);
  count.linear(b, d, d);  // heads blocks of [d / heads, d]
  count.linear(b, d, d);
  count.linear(b, d, d);
  count.cost.flops += 3 * 2 * (2 * tokens * d * h);
  count.kept(tokens * d);
}

}  // namespace

Cost step_cost(const Workload& w, const ModelConfig& config) {
  Counter count;
  const auto b = static_cast<double>(w.batch), du = static_cast<double>(w.user_width),
             di = static_cast<double>(w.item_width), hidden = static_cast<double>(config.hidden_size),
             length = static_cast<double>(w.history), tasks = static_cast<double>(Workload::kTasks);
  count.cost.bytes += b * (static_cast<double>(w.user_features + w.item_features) + tasks) * kFloat;
  count.table(b, static_cast<double>(w.users), du);
  count.table(b * (config.history ? 1 + length : 1), static_cast<double>(w.items), di);
  count.linear(b, static_cast<double>(w.user_features), hidden, /*input_gradient=*/false);
  count.linear(b, hidden, du);
  count.linear(b, static_cast<double>(w.item_features), hidden, false);
  count.linear(b, hidden, di);
  count.linear(b, 2 * di, di);
  const double user_input = 2 * du + (config.history ? 2 * di : 0);
  count.linear(b, user_input, di);
  count.pairs(b, di);
  if (config.history) history(count, b, length, di, config.attention_layers, config.attention_heads);
  if (config.debias_user()) count.linear(b, di + (config.debias_position() ? 1 : 0), 1);
  if (config.light_ranker) {
    const auto nu = static_cast<double>(Workload::kRankerVectors);
    count.linear(b, user_input, nu * di);
    count.linear(b, 2 * di + nu + 1, config.distill ? 2 * tasks : tasks);
    count.cost.flops += 3 * 2 * 2 * b * nu * di;  // dots with the item and their combination, with both gradients
  }
  if (config.alignment != "none") {
    count.linear(b, 2 * di + 1, tasks, false);
    // The two softmaxes over pairs start from the same dots and end in the same dv, du: one set of products would do.
  }
  return count.cost;
}

Cost retrieval_cost(std::string_view index, int64_t queries, int64_t rows, int64_t width) {
  if (index == "hnsw") return {};
  const double numbers = static_cast<double>(rows) * static_cast<double>(width);
  const double bytes = index == "int8" ? 1 : index == "fp16" ? 2 : kFloat;
  return {2 * static_cast<double>(queries) * numbers / (index == "int8" ? 4 : 1), numbers * bytes};
}

}  // namespace tt::bench
