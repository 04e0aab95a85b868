#include <twotower/train/fit/monitor.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace tt {
namespace {

// Whether some user of the split has labels that differ: whether there are label_pairs.
bool labels_differ(const Dataset& data, Split split) {
  const Impressions& log = data.split(split);
  const auto tasks = static_cast<size_t>(data.num_tasks());
  std::vector<const float*> first(static_cast<size_t>(data.num_users()), nullptr);
  for (int64_t i = 0; i < log.size; ++i) {
    const float* labels = log.labels + static_cast<size_t>(i) * tasks;
    const float*& known = first[static_cast<size_t>(log.user[i])];
    if (known && !std::equal(labels, labels + tasks, known)) return true;
    known = labels;
  }
  return false;
}

}  // namespace

std::string default_monitor(const ModelConfig& model, const Dataset& data, const std::vector<int64_t>& ks) {
  if (model.needs_lists() && data.split(Split::valid).ranker_scores) return "logged_pairs";
  if (model.needs_lists() && labels_differ(data, Split::valid)) return kLabelPairs;
  int64_t k = ks.front();
  for (const int64_t other : ks)
    if (other <= 20) k = other;
  return (model.debias_position() && data.has_positions() ? "ips_recall@" : "recall@") + std::to_string(k);
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
  text << "over-optimisation: the reward rose from " << reward_then_ << " to " << reward << " while " << kLabelPairs
       << " of held-out users fell from " << then / n << " to " << then / n - fall << " (standard error of the fall "
       << error << "); lower model.alignment_weight, or raise model.reward_pessimism";
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
