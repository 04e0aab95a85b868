#include <twotower/layers/checkpoint.h>
#include <twotower/models/bundle/weights.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/tensor/text.h>
#include <twotower/train/batches/loader.h>
#include <twotower/train/data/fingerprint.h>
#include <twotower/train/fit/list_training.h>
#include <twotower/train/fit/monitor.h>
#include <twotower/train/fit/trainer.h>
#include <twotower/train/fit/training_step.h>
#include <twotower/train/optim/schedule.h>
#include <twotower/train/run/bundle_maker.h>
#include <twotower/train/run/checkpoint.h>
#include <twotower/train/run/resume.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

namespace tt {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void add_losses(StepLosses& sum, const StepLosses& one) {
  sum.total += one.total, sum.retrieval += one.retrieval, sum.debias += one.debias, sum.ranker += one.ranker;
  sum.distillation += one.distillation, sum.proxy += one.proxy, sum.alignment += one.alignment;
}

nlohmann::ordered_json loss_json(const StepLosses& sum, double batches, const ModelConfig& model) {
  nlohmann::ordered_json out = {{"total", sum.total / batches}, {"retrieval", sum.retrieval / batches}};
  if (model.debias != "none") out["debias"] = sum.debias / batches;
  if (model.light_ranker) out["ranker"] = sum.ranker / batches;
  if (model.distill) out["distillation"] = sum.distillation / batches;
  if (model.aligns_with_proxy()) out["proxy"] = sum.proxy / batches, out["alignment"] = sum.alignment / batches;
  return out;
}

// The learned examination curve, relative to the first slot.
nlohmann::ordered_json position_curve(const Debias<float>& debias) {
  nlohmann::ordered_json curve = nlohmann::ordered_json::array();
  const Tensor<const float> p = debias.position_curve();
  for (int64_t i = 0; i < std::min<int64_t>(p.numel(), 20); ++i) curve.push_back(p[i] / p[0]);
  return curve;
}

class Training {
 public:
  Training(const RunConfig& config, const Dataset& data, const std::string& out, const TrainOptions& options)
      : config_(config),
        data_(data),
        out_(out),
        options_(options),
        model_(config.model, static_cast<uint64_t>(config.train.seed)) {
    config_.data_rows = rows_fingerprint(data), config_.data_log = log_fingerprint(data);
    check_ranker_pairs("train " + out, options.ranker_pairs, data.num_users(), data.num_items(), data.tasks());
    check(
        options.ranker_pairs.size() == 0 || config.model.needs_ranker_scores() || config.model.aligns_with_model(),
        "train " + out,
        "this model learns nothing from what a ranker says; leave --ranker-pairs out, or train kd, reward or aligned");
    add_ranker_pairs(given_pairs_, options.ranker_pairs);  // in order
    if (options.resume) given_pairs_ = resumed_ranker_pairs(out, data, given_pairs_);
    config_.ranker_pairs = pairs_fingerprint(given_pairs_);
    pairs_ = load_ranker_pairs(data);
    add_ranker_pairs(pairs_, given_pairs_);
    check(!config.model.needs_ranker_scores() || data.has_ranker_scores() || pairs_.size() > 0, "dataset " + data.dir(),
          "it has no ranker scores, which distillation needs; import them with --ranker, give --ranker-pairs, or set "
          "distill = false, distill_towers = \"none\" and ranker_serves = \"labels\"");
  }

  TrainSummary run();

 private:
  void make_evaluator();
  void prepare_folder();
  void begin_run();
  bool resume();
  void recall_metrics();
  std::optional<Reward> settle_lists();
  double run_epoch(int64_t epoch);
  double reward_of_policy() const;
  // Evaluates, logs and checkpoints; returns whether training should stop.
  bool finish_epoch(int64_t epoch);
  void save_best();
  void save_state(int64_t epoch) const;
  void say(const std::string& line) const {
    if (options_.message) options_.message(line);
  }
  bool better(double a, double b) const { return lower_ ? a < b : a > b; }

  RunConfig config_;
  const Dataset& data_;
  std::string out_;
  TrainOptions options_;
  TwoTower<float> model_;
  std::unique_ptr<TrainingStep> step_;
  std::unique_ptr<Loader> loader_;
  std::unique_ptr<ListTraining> lists_;  // null for a model that learns nothing from lists
  RankerPairs given_pairs_, pairs_;      // beside the dataset, and all of them
  std::unique_ptr<Evaluator> evaluator_;
  std::unique_ptr<ServedDataset> served_;
  std::unique_ptr<BundleMaker> bundle_;
  OveroptimizationMonitor monitor_;
  TrainSummary summary_;
  StepLosses losses_;
  bool lower_ = false, begun_ = false;
  int64_t first_epoch_ = 0, waited_ = 0;
  Clock::time_point start_ = Clock::now();
};

void Training::prepare_folder() {
  std::error_code error;
  if (fs::exists(out_) && !fs::is_empty(out_, error) && !options_.resume)
    check(fs::exists(out_ + "/config.toml"), "train " + out_,
          "the folder is not empty and holds no run; choose another --out");
  fs::create_directories(out_, error);
  check(!error, "train " + out_, "the folder cannot be made: ", error.message(), "; choose another --out");
}

// Only when there is a first epoch to keep: an older run in the folder outlives a start that fails.
void Training::begin_run() {
  if (begun_) return;
  begun_ = true;
  write_file_atomically(out_ + "/config.toml", to_toml(config_));
  std::error_code ignored;
  for (const char* file :  // the state first: without the others it would be none to resume from
       {"/state.safetensors", "/last.safetensors", "/metrics.jsonl", "/weights.safetensors", "/bundle.safetensors",
        "/reward.safetensors"})
    fs::remove(out_ + file, ignored);
  fs::remove(out_ + "/" + kRankerPairsFile, ignored);
  if (given_pairs_.size() > 0) save_ranker_pairs(out_ + "/" + kRankerPairsFile, given_pairs_);
  if (lists_) lists_->save_reward(out_);
}

// And what it measures that picks the best epoch.
void Training::make_evaluator() {
  TrainConfig& train = config_.train;
  const bool automatic = train.monitor == "auto";
  EvaluateOptions options;
  options.ks = default_ks(data_.num_available(), config_.model);
  options.split = Split::valid;
  options.baselines = false;
  options.max_users = 2000;
  if (can_evaluate(data_, Split::valid, /*include_seen=*/true)) {
    options.include_seen = !can_evaluate(data_, Split::valid);
    if (options.include_seen)
      say("users had seen all that they act on in the validation split: measured with items seen before");
    options.shown = config_.model.needs_lists() || config_.model.alignment != "none" || orders_shown(train.monitor);
    evaluator_ = std::make_unique<Evaluator>(data_, options);
  } else {
    say(std::string(data_.split(Split::valid).size > 0 ? "nobody acts on anything in the validation split"
                                                       : "the data has no validation split") +
        ": no early stopping, all " + std::to_string(train.epochs) + " epochs are trained and the last one is kept");
  }
  if (automatic) train.monitor = default_monitor(config_.model, data_, evaluator_.get(), options.ks);
  if (!evaluator_) return;
  if (automatic && options.ks.back() < 20) say("the corpus is small: monitoring " + train.monitor);
  check_monitor(train.monitor, data_, options, *evaluator_);
}

TrainSummary Training::run() {
  TrainConfig& train = config_.train;
  if (train.alignment_start_epoch < 0)
    train.alignment_start_epoch = config_.model.aligns_with_model() && !config_.model.needs_anchor() ? 0 : 3;
  train.alignment_start_epoch =
      std::min(train.alignment_start_epoch, train.epochs - 1);  // a short run aligns at its end
  summary_.best = std::numeric_limits<double>::quiet_NaN();
  summary_.parameters = model_.parameters().element_count();
  make_evaluator();
  lower_ = lower_is_better(train.monitor);
  summary_.monitor = train.monitor;
  loader_ = std::make_unique<Loader>(data_, config_.model, train);
  step_ = std::make_unique<TrainingStep>(model_, train, loader_->queue());
  prepare_folder();
  start_ = Clock::now();
  begun_ = options_.resume && resume();
  if (config_.model.needs_lists())
    lists_ = std::make_unique<ListTraining>(data_, config_, pairs_, settle_lists(), begun_ ? out_ : "",
                                            [this](const std::string& line) { say(line); });
  if (begun_) write_file_atomically(out_ + "/config.toml", to_toml(config_));
  if (evaluator_)
    served_ = std::make_unique<ServedDataset>(model_, data_, learnt_rows(data_, config_.model, train, pairs_));
  const bool stopped = train.patience > 0 && waited_ >= train.patience;  // resumed after it had stopped early
  for (int64_t epoch = first_epoch_; epoch < train.epochs && !stopped; ++epoch) {
    summary_.final_loss = run_epoch(epoch);
    summary_.epochs = epoch + 1;
    if (finish_epoch(epoch)) break;
  }
  if (!fs::exists(out_ + "/bundle.safetensors")) {
    const AveragedWeights averaged(step_->average(), step_->optimizer().steps());
    if (summary_.best_epoch > 0 && fs::exists(out_ + "/weights.safetensors"))
      load_model(out_ + "/weights.safetensors", model_);  // the best epoch's
    save_best();
  }
  summary_.steps = step_->optimizer().steps();
  summary_.seconds = seconds_since(start_);
  return summary_;
}

// Finds out what the config leaves open about lists, and says it.
std::optional<Reward> Training::settle_lists() {
  const TrainConfig before = config_.train;
  std::optional<Reward> first = choose_for_lists(data_, config_, pairs_);
  std::ostringstream text;
  if (config_.train.list_recency != before.list_recency)
    text << "list_recency = " << config_.train.list_recency << ", ";
  if (config_.train.reward_weight_decay != before.reward_weight_decay)
    text << "reward_weight_decay = " << config_.train.reward_weight_decay << ", ";
  if (!text.str().empty()) say(text.str() + "by what explains the validation split better");
  return first;
}

double Training::run_epoch(int64_t epoch) {
  const int64_t batches = loader_->batches_per_epoch();
  const int64_t list_batches = lists_ ? lists_->batches_per_epoch() : 0;
  const int64_t total = (batches + list_batches) * config_.train.epochs;
  const bool alignment_on = epoch >= config_.train.alignment_start_epoch;
  if (alignment_on && !model_.has_anchor()) model_.set_anchor();
  if (lists_) lists_->start_epoch(epoch, model_, alignment_on);
  const Schedule schedule{config_.train.learning_rate, config_.train.warmup_steps, config_.train.decay};
  losses_ = {};
  loader_->start_epoch(epoch);
  const auto begin = Clock::now();
  int64_t batch_number = 0, examples = 0;
  while (const Batch<float>* batch = loader_->next()) {
    step_->watch_expected_value(batch_number + 1 == batches);  // the one that an epoch's line shows
    const double rate = schedule.at(step_->optimizer().steps() + 1, total);
    add_losses(losses_, step_->run(*batch, rate, alignment_on));
    examples += batch->size();
    ++batch_number;
    if (lists_) lists_->run_until(batch_number * list_batches / batches, *step_, rate);
    if (options_.progress)
      options_.progress({epoch + 1, config_.train.epochs, batch_number, batches,
                         losses_.total / static_cast<double>(batch_number),
                         static_cast<double>(examples) / std::max(seconds_since(begin), 1e-9)});
  }
  return losses_.total / static_cast<double>(batches);
}

// What the reward makes of the policy: what over-optimisation drives up.
double Training::reward_of_policy() const {
  return config_.model.aligns_with_model() ? lists_->policy_reward() : step_->expected_value();
}

bool Training::finish_epoch(int64_t epoch) {
  const double batches = static_cast<double>(loader_->batches_per_epoch());
  nlohmann::ordered_json line = {{"epoch", epoch + 1},
                                 {"steps", step_->optimizer().steps()},
                                 {"seconds", seconds_since(start_)},
                                 {"loss", loss_json(losses_, batches, config_.model)}};
  if (lists_) line["list_loss"] = lists_->losses();
  if (config_.model.alignment != "none") line["reward"] = reward_of_policy();
  if (model_.debias() && config_.model.debias_position()) line["position_curve"] = position_curve(*model_.debias());
  if (config_.model.learn_temperature) line["temperature"] = model_.temperature();

  const bool last = epoch + 1 == config_.train.epochs;
  const bool evaluates = evaluator_ && (last || (epoch + 1) % config_.train.evaluate_every == 0);
  bool stop = false;
  std::optional<AveragedWeights> averaged(std::in_place, step_->average(), step_->optimizer().steps());
  std::ostringstream text;
  text << "epoch " << epoch + 1 << "  loss " << std::fixed << std::setprecision(4) << losses_.total / batches;
  EvaluationResult result;
  double value = 0;
  if (evaluates) {
    served_->refresh();
    result = evaluator_->run(*served_);
    value = result.measures[config_.train.monitor];  // Error, before anything is written, if no user has such a value
  }
  begin_run();
  if (evaluates) {
    nlohmann::ordered_json measures;
    for (const auto& [name, found] : result.measures.all()) measures[name] = found;
    line["valid"] = measures;
    text << "  " << config_.train.monitor << " (valid) " << value;
    // An epoch before alignment began is no candidate: it would not be the model that was asked for.
    const bool candidate = config_.model.alignment == "none" || last || epoch >= config_.train.alignment_start_epoch;
    if (!candidate) {
      text << "  (alignment begins with epoch " << config_.train.alignment_start_epoch + 1 << ")";
    } else if (std::isnan(summary_.best) || better(value, summary_.best)) {
      summary_.best = value, summary_.best_epoch = epoch + 1, summary_.best_measures = result.measures;
      waited_ = 0;
      save_best();
      text << "  best so far";
    } else if (config_.train.patience > 0 && ++waited_ >= config_.train.patience) {
      stop = true;
      text << "  stopping: no better for " << waited_ << " evaluations";
    }
    if (config_.model.alignment != "none" && result.measures.has(kLabelPairs)) {
      const double reward =
          epoch >= config_.train.alignment_start_epoch ? reward_of_policy() : -std::numeric_limits<double>::infinity();
      const std::string warning = monitor_.see(reward, label_pairs_of(result));
      if (!warning.empty()) line["warning"] = summary_.warning = warning, say("warning: " + warning);
    }
  } else if (!evaluator_) {
    save_best();
    summary_.best_epoch = epoch + 1;
  }
  averaged.reset();  // training goes on from the weights themselves
  std::ofstream log(out_ + "/metrics.jsonl", std::ios::app);
  log << line.dump() << '\n';
  log.flush();
  check(log.good(), "train " + out_ + "/metrics.jsonl", "cannot be written; is the disk full?");
  say(text.str());
  save_state(epoch);
  return stop;
}

// The model as it is now is the one to serve.
void Training::save_best() {
  if (!bundle_)
    bundle_ =
        std::make_unique<BundleMaker>(data_, config_.model, learnt_rows(data_, config_.model, config_.train, pairs_));
  save_parameters(out_ + "/weights.safetensors", model_.parameters());
  bundle_->write(out_ + "/bundle.safetensors", model_);
}

// What --resume needs: the parameters and the optimizer as they are after an epoch, and how the search for the best
// epoch stands.
void Training::save_state(int64_t epoch) const {
  save_model(out_ + "/last.safetensors", model_);
  SafetensorsWriter writer;
  writer.metadata("weights", fingerprint_of(weights_of(model_.parameters())));
  step_->optimizer().add_state(writer, model_.parameters().all());
  if (step_->average()) step_->average()->add_state(writer);
  const int64_t counters[] = {epoch + 1, summary_.best_epoch, waited_};
  writer.add("trainer.counters", counters, {3});
  writer.add("trainer.best", &summary_.best, {1});
  monitor_.add_state(writer);
  if (loader_->queue()) loader_->queue()->add_state(writer);
  writer.write(out_ + "/state.safetensors");
}

bool Training::resume() {
  if (!fs::exists(out_ + "/state.safetensors")) {
    say("there is nothing to resume in " + out_ + ": starting anew");
    return false;
  }
  const SafetensorsFile state = SafetensorsFile::open(out_ + "/state.safetensors");
  const int64_t* counters = state.data<int64_t>("trainer.counters", {3});
  RunConfig before;
  read_config_file(out_ + "/config.toml", before);
  if (config_.train.list_recency == 0) config_.train.list_recency = before.train.list_recency;  // found out then
  if (config_.train.reward_weight_decay < 0) config_.train.reward_weight_decay = before.train.reward_weight_decay;
  check_resumable(out_, before, config_, counters[0]);
  check(before.data_rows == config_.data_rows && before.data_log == config_.data_log, "train " + out_,
        "cannot resume: the dataset ", data_.dir(),
        " is not the one that it was trained on; give that one, or train anew without --resume");
  load_model(out_ + "/last.safetensors", model_);
  const auto weights = state.metadata().find("weights");
  check(weights != state.metadata().end() && weights->second == fingerprint_of(weights_of(model_.parameters())),
        "train " + out_,
        "cannot resume: last.safetensors and state.safetensors are of different epochs, as a training leaves them that "
        "was "
        "stopped between the two; train anew without --resume");
  if (loader_->queue()) loader_->queue()->load_state(state);
  step_->optimizer().load_state(state, model_.parameters().all());
  if (step_->average()) step_->average()->load_state(state);
  first_epoch_ = counters[0], summary_.best_epoch = counters[1], waited_ = counters[2];
  summary_.epochs = first_epoch_;
  summary_.best = *state.data<double>("trainer.best", {1});
  monitor_.load_state(state, evaluator_ ? evaluator_->users() : 0);
  keep_metrics(out_ + "/metrics.jsonl", first_epoch_);
  recall_metrics();
  say("resuming after epoch " + std::to_string(first_epoch_));
  return true;
}

// What the evaluations so far found.
void Training::recall_metrics() {
  std::ifstream file(out_ + "/metrics.jsonl");
  for (std::string text; std::getline(file, text);) {
    const auto line = nlohmann::ordered_json::parse(text);
    if (!line.contains("valid")) continue;
    const auto& valid = line["valid"];
    if (line["epoch"] == summary_.best_epoch)
      for (const auto& [name, value] : valid.items()) summary_.best_measures.set(name, value);
    if (line.contains("warning")) summary_.warning = line["warning"];
  }
}

}  // namespace

TrainSummary train(const RunConfig& config, const Dataset& data, const std::string& out_dir,
                   const TrainOptions& options) {
  config.model.validate();
  config.train.validate();
  return Training(config, data, out_dir, options).run();
}

}  // namespace tt
