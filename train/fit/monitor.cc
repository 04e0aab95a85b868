#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>
#include <twotower/train/fit/monitor.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace tt {

int64_t monitored_k(const std::vector<int64_t>& ks) {
  int64_t k = ks.front();
  for (const int64_t other : ks)
    if (other <= 20) k = other;
  return k;
}

std::string default_monitor(const ModelConfig& model, const Dataset& data, const Evaluator* evaluator,
                            const std::vector<int64_t>& ks) {
  if (evaluator && model.needs_lists() && evaluator->has_logged_pairs()) return kLoggedPairs;
  if (evaluator && model.needs_lists() && evaluator->has_label_pairs()) return kLabelPairs;
  const bool debiases = model.debias_position() && data.has_positions();
  return (debiases ? "ips_recall@" : "recall@") + std::to_string(monitored_k(ks));
}

bool orders_shown(const std::string& measure) {
  return measure == kLabelPairs || measure == kLoggedPairs || measure == "logged_kendall";
}

void check_monitor(const std::string& measure, const Dataset& data, const EvaluateOptions& options,
                   const Evaluator& evaluator) {
  const std::vector<std::string> names = measure_names(data, options);
  if (std::find(names.begin(), names.end(), measure) == names.end()) {
    const std::string nearest = nearest_name(measure, names);
    fail("config", "train.monitor = \"", measure, "\" is not a measure of this dataset",
         nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?");
  }
  check(measure == kLabelPairs ? evaluator.has_label_pairs() : !orders_shown(measure) || evaluator.has_logged_pairs(),
        "config", "train.monitor = \"", measure,
        "\": nobody in the validation split was shown items of which the "
        "log says different things; give another monitor");
}

std::vector<float> label_pairs_of(const EvaluationResult& result) {
  const std::vector<std::string>& names = result.per_user_names;
  const auto column = std::find(names.begin(), names.end(), kLabelPairs) - names.begin();
  std::vector<float> values;
  for (size_t i = static_cast<size_t>(column); i < result.per_user.size(); i += names.size())
    values.push_back(result.per_user[i]);
  return values;
}

std::string OveroptimizationMonitor::see(double reward, std::vector<float> label_pairs) {
  double sum = 0, squares = 0, then = 0, n = 0;
  for (size_t i = 0; i < best_.size(); ++i) {
    const double difference = static_cast<double>(label_pairs[i]) - static_cast<double>(best_[i]);
    if (std::isnan(difference)) continue;
    sum += difference, squares += difference * difference, then += static_cast<double>(best_[i]), ++n;
  }
  if (best_.empty() || sum > 0) {
    best_ = std::move(label_pairs), reward_then_ = reward;
    return "";
  }
  const double fall = -sum / n, error = std::sqrt(std::max(0.0, squares - sum * sum / n) / (n - 1) / n);
  if (reward <= reward_then_ || n < 2 || !(fall > 2 * error)) return "";
  std::ostringstream text;
  text << "over-optimisation: the reward rose ";
  if (!std::isinf(reward_then_)) text << "from " << reward_then_ << " ";
  text << "to " << reward << " while " << kLabelPairs << " of held-out users fell from " << then / n << " to "
       << then / n - fall << " (standard error of the fall " << error
       << "); lower model.alignment_weight, or raise model.reward_pessimism";
  return text.str();
}

void OveroptimizationMonitor::add_state(SafetensorsWriter& writer) const {
  if (best_.empty()) return;
  writer.add("monitor.reward", &reward_then_, {1});
  writer.add("monitor.label_pairs", best_.data(), {static_cast<int64_t>(best_.size())});
}

void OveroptimizationMonitor::load_state(const SafetensorsFile& file, int64_t users) {
  if (!file.has("monitor.reward")) return;
  reward_then_ = *file.data<double>("monitor.reward", {1});
  const float* best = file.data<float>("monitor.label_pairs", {users});
  best_.assign(best, best + users);
}

}  // namespace tt
