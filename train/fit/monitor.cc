#include <twotower/train/evaluate/statistics.h>
#include <twotower/train/fit/monitor.h>

#include <algorithm>
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

double standard_error_of(const EvaluationResult& result, const std::string& measure) {
  const std::vector<std::string>& names = result.per_user_names;
  const auto column = std::find(names.begin(), names.end(), measure) - names.begin();
  return standard_error(result.per_user, names.size(), static_cast<size_t>(column));
}

std::string OveroptimizationMonitor::see(double reward, const std::string& name, double measure, double error) {
  if (seen_++ == 0 || measure > best_) best_ = measure, reward_then_ = reward;
  if (reward <= reward_then_ || measure >= best_ - 2 * error) return "";
  std::ostringstream text;
  text << "over-optimisation: the reward rose from " << reward_then_ << " to " << reward << " while " << name
       << " of held-out labels fell from " << best_ << " to " << measure << " (standard error " << error
       << "); lower model.alignment_weight, or raise model.reward_pessimism";
  return text.str();
}

}  // namespace tt
