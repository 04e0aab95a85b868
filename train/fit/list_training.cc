#include <twotower/tensor/error.h>
#include <twotower/train/batches/training_rows.h>
#include <twotower/train/fit/list_training.h>

#include <chrono>
#include <filesystem>
#include <iomanip>
#include <sstream>

namespace tt {
namespace {

ListOptions options_of(const RunConfig& config) {
  ListOptions options = list_options(config.train);
  if (config.model.aligns_with_model())
    options.policy = config.train.list_policy, options.uniform = config.train.list_uniform;
  return options;
}

void add_losses(ListLosses& sum, const ListLosses& one) {
  sum.total += one.total, sum.towers += one.towers, sum.ranker += one.ranker, sum.alignment += one.alignment;
  sum.reward += one.reward;
}

// A line for people: how well the reward knows the ranker, by what it has not seen.
std::string describe(const Reward& reward, const Dataset& data, const ModelConfig& model, double seconds) {
  std::ostringstream text;
  text << "reward model: " << model.reward_members << " members in " << std::fixed << std::setprecision(1) << seconds
       << " s";
  const Reward::Check found = reward.check_against(data, model, Split::valid);
  for (size_t t = 0; t < found.logged.size(); ++t)
    text << (t == 0 ? "; held out: " : ", ") << data.tasks()[t] << std::setprecision(3) << " " << found.predicted[t]
         << " (the ranker " << found.logged[t] << ")";
  if (!found.logged.empty()) text << "; orders " << 100 * found.pairs << " % of a user's pairs as the ranker does";
  return text.str();
}

}  // namespace

ListTraining::ListTraining(const Dataset& data, const RunConfig& config, const RankerPairs& pairs,
                           std::optional<Reward> first, const std::string& resumed_run, const Message& say)
    : config_(config), lists_(data, config.model, options_of(config), pairs) {
  if (!config.model.aligns_with_model()) return;
  learnt_items_ = learnt_rows(data, config.model, config.train, pairs).items;
  if (!resumed_run.empty()) {
    const std::string path = resumed_run + "/" + kRewardFile;
    std::error_code ignored;
    check(std::filesystem::exists(path, ignored), "train " + resumed_run, "cannot resume: ", kRewardFile,
          ", the reward that it was aligned with, is gone; train anew without --resume");
    reward_.emplace(Reward::load(path, data, config.model));
    return;
  }
  const auto begin = std::chrono::steady_clock::now();
  reward_.emplace(Reward::train(data, config, pairs, {}, std::move(first)));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  say(describe(*reward_, data, config.model, seconds));
}

void ListTraining::start_epoch(int64_t epoch, const TwoTower<float>& policy, bool alignment_on) {
  epoch_ = epoch, done_ = 0, losses_ = {}, alignment_on_ = alignment_on;
  if (reward_ && alignment_on) lists_.draw_from(policy, learnt_items_);
}

void ListTraining::run_until(int64_t until, TrainingStep& step, double learning_rate) {
  for (; done_ < until; ++done_) {
    if (done_ % lists_.batches() == 0) lists_.start_pass(epoch_ * config_.train.list_passes + done_ / lists_.batches());
    ListBatch<float> batch = *lists_.next();
    if (reward_ && alignment_on_) {
      arena_.reset();
      batch.value = reward_->values(batch, arena_);
    }
    add_losses(losses_, step.run(batch, learning_rate, alignment_on_));
  }
}

nlohmann::ordered_json ListTraining::losses() const {
  const auto batches = static_cast<double>(done_);
  const ModelConfig& model = config_.model;
  nlohmann::ordered_json out = {{"total", losses_.total / batches}};
  if (model.distill_towers != "none") out["towers"] = losses_.towers / batches;
  if (model.distill) out["ranker"] = losses_.ranker / batches;
  if (model.aligns_with_model()) out["alignment"] = losses_.alignment / batches;
  return out;
}

void ListTraining::save_reward(const std::string& run) const {
  if (reward_) reward_->save(run + "/" + kRewardFile);
}

}  // namespace tt
