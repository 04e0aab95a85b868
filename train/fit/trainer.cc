#include <twotower/tensor/atomic_file.h>
#include <twotower/tensor/text.h>
#include <twotower/train/batches/loader.h>
#include <twotower/train/fit/checkpoint.h>
#include <twotower/train/fit/overoptimization.h>
#include <twotower/train/fit/trainer.h>
#include <twotower/train/fit/training_step.h>
#include <twotower/train/optim/schedule.h>

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
  if (model.alignment != "none") out["proxy"] = sum.proxy / batches, out["alignment"] = sum.alignment / batches;
  return out;
}

// The learned examination curve, relative to the first slot.
nlohmann::ordered_json position_curve(const Debias<float>& debias) {
  nlohmann::ordered_json curve = nlohmann::ordered_json::array();
  const Tensor<const float> p = debias.position_curve();
  for (int64_t i = 0; i < std::min<int64_t>(p.numel(), 20); ++i) curve.push_back(p[i] / p[0]);
  return curve;
}

// Drops the lines of later epochs and one that was cut off: a training may be killed between its files.
void keep_metrics(const std::string& path, int64_t epochs) {
  std::ifstream file(path);
  std::string kept;
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (json.is_object() && json.value("epoch", epochs + 1) <= epochs) kept += line + '\n';
  }
  write_file_atomically(path, kept);
}

// What a resumed training may not change: its parameters and the optimizer's state would mean something else.
void check_same(const std::string& out, const RunConfig& now) {
  RunConfig before;
  read_config_file(out + "/config.toml", before);
  const auto text = [](const RunConfig& c) {
    return to_toml(c.model) + "optimizer = " + c.train.optimizer + "\nema = " + std::to_string(c.train.ema) + "\n";
  };
  std::istringstream a(text(before)), b(text(now));
  for (std::string line_a, line_b; std::getline(a, line_a) && std::getline(b, line_b);)
    check(line_a == line_b, "train " + out, "cannot resume: it was trained with ", line_a, ", this is ", line_b,
          "; give the same options again, or train anew without --resume");
}

class Training {
 public:
  Training(const RunConfig& config, const Dataset& data, const std::string& out, const TrainOptions& options)
      : config_(config),
        data_(data),
        out_(out),
        options_(options),
        model_(config.model, static_cast<uint64_t>(config.train.seed)) {}

  TrainSummary run();

 private:
  void prepare_folder();
  void begin_run();
  bool resume();
  double run_epoch(int64_t epoch);
  // Evaluates, logs and checkpoints; returns whether training should stop.
  bool finish_epoch(int64_t epoch);
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
  std::unique_ptr<Evaluator> evaluator_;
  std::unique_ptr<Retriever> retriever_;
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
  std::error_code ignored;
  for (const char* file : {"/metrics.jsonl", "/model.safetensors", "/last.safetensors", "/state.safetensors"})
    fs::remove(out_ + file, ignored);
  write_file_atomically(out_ + "/config.toml", to_toml(config_));
}

TrainSummary Training::run() {
  TrainConfig& train = config_.train;
  train.alignment_start_epoch =
      std::min(train.alignment_start_epoch, train.epochs - 1);  // a short run aligns at its end
  summary_.best = std::numeric_limits<double>::quiet_NaN();
  summary_.parameters = model_.parameters().element_count();
  if (can_evaluate(data_, Split::valid)) {
    EvaluateOptions options;
    options.split = Split::valid;
    options.baselines = false;
    options.max_users = 2000;
    options.ks = default_ks(data_.num_items());
    if (train.monitor == TrainConfig().monitor && data_.num_items() < 20) {  // too few for the default
      train.monitor = "recall@" + std::to_string(options.ks.back());
      say("the corpus is small: monitoring " + train.monitor);
    }
    const std::vector<std::string> names = measure_names(data_, options);
    if (std::find(names.begin(), names.end(), train.monitor) == names.end()) {
      const std::string nearest = nearest_name(train.monitor, names);
      fail("config", "train.monitor = \"", train.monitor, "\" is not a measure of this dataset",
           nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?");
    }
    evaluator_ = std::make_unique<Evaluator>(data_, options);
  } else {
    say((data_.split(Split::valid).size == 0
             ? std::string("the data has no validation split")
             : std::string("no user of the validation split acted on an item not seen before")) +
        ": no early stopping, all " + std::to_string(train.epochs) + " epochs are trained and the last one is kept");
  }
  lower_ = lower_is_better(train.monitor);
  summary_.monitor = train.monitor;
  loader_ = std::make_unique<Loader>(data_, config_.model, train);
  step_ = std::make_unique<TrainingStep>(model_, train, loader_->queue());
  prepare_folder();
  if (options_.resume && resume()) {
    begun_ = true;
    write_file_atomically(out_ + "/config.toml", to_toml(config_));
  }
  if (evaluator_) retriever_ = std::make_unique<Retriever>(model_, data_);
  start_ = Clock::now();
  for (int64_t epoch = first_epoch_; epoch < train.epochs; ++epoch) {
    summary_.final_loss = run_epoch(epoch);
    summary_.epochs = epoch + 1;
    if (finish_epoch(epoch)) break;
  }
  if (!fs::exists(out_ + "/model.safetensors")) {
    const AveragedWeights averaged(step_->average(), step_->optimizer().steps());
    save_model(out_ + "/model.safetensors", model_);
  }
  summary_.steps = step_->optimizer().steps();
  summary_.seconds = seconds_since(start_);
  return summary_;
}

double Training::run_epoch(int64_t epoch) {
  const int64_t batches = loader_->batches_per_epoch(), total = batches * config_.train.epochs;
  const bool alignment_on = epoch >= config_.train.alignment_start_epoch;
  if (alignment_on && !model_.has_anchor()) model_.set_anchor();
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
    if (options_.progress)
      options_.progress({epoch + 1, config_.train.epochs, batch_number, batches,
                         losses_.total / static_cast<double>(batch_number),
                         static_cast<double>(examples) / std::max(seconds_since(begin), 1e-9)});
  }
  return losses_.total / static_cast<double>(batches);
}

bool Training::finish_epoch(int64_t epoch) {
  const double batches = static_cast<double>(loader_->batches_per_epoch());
  nlohmann::ordered_json line = {{"epoch", epoch + 1},
                                 {"steps", step_->optimizer().steps()},
                                 {"seconds", seconds_since(start_)},
                                 {"loss", loss_json(losses_, batches, config_.model)}};
  if (config_.model.alignment != "none") line["proxy_value"] = step_->expected_value();
  if (model_.debias() && config_.model.debias_position()) line["position_curve"] = position_curve(*model_.debias());
  if (config_.model.learn_temperature) line["temperature"] = model_.temperature();

  const bool last = epoch + 1 == config_.train.epochs;
  const bool evaluates = evaluator_ && (last || (epoch + 1) % config_.train.evaluate_every == 0);
  bool stop = false;
  begin_run();
  std::optional<AveragedWeights> averaged(std::in_place, step_->average(), step_->optimizer().steps());
  std::ostringstream text;
  text << "epoch " << epoch + 1 << "  loss " << std::fixed << std::setprecision(4) << losses_.total / batches;
  if (evaluates) {
    retriever_->refresh();
    const EvaluationResult result = evaluator_->run(*retriever_);
    nlohmann::ordered_json measures;
    for (const auto& [name, value] : result.measures.all()) measures[name] = value;
    line["valid"] = measures;
    const double value = result.measures[config_.train.monitor];
    text << "  " << config_.train.monitor << " (valid) " << value;
    // An epoch before alignment began is no candidate: it would not be the model that was asked for.
    const bool candidate = config_.model.alignment == "none" || last || epoch >= config_.train.alignment_start_epoch;
    if (!candidate) {
      text << "  (alignment begins with epoch " << config_.train.alignment_start_epoch + 1 << ")";
    } else if (std::isnan(summary_.best) || better(value, summary_.best)) {
      summary_.best = value, summary_.best_epoch = epoch + 1, summary_.best_measures = result.measures;
      waited_ = 0;
      save_model(out_ + "/model.safetensors", model_);
      text << "  best so far";
    } else if (config_.train.patience > 0 && ++waited_ >= config_.train.patience) {
      stop = true;
      text << "  stopping: no better for " << waited_ << " evaluations";
    }
    if (config_.model.alignment != "none" && epoch >= config_.train.alignment_start_epoch) {
      const std::string warning = monitor_.see(step_->expected_value(), value, config_.train.monitor, lower_);
      if (!warning.empty()) line["warning"] = summary_.warning = warning, say("warning: " + warning);
    }
  } else if (!evaluator_) {
    save_model(out_ + "/model.safetensors", model_);
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

// What --resume needs: the parameters and the optimizer as they are after an epoch, and how the search for the best
// epoch stands.
void Training::save_state(int64_t epoch) const {
  save_model(out_ + "/last.safetensors", model_);
  SafetensorsWriter writer;
  step_->optimizer().add_state(writer, model_.parameters().all());
  if (step_->average()) step_->average()->add_state(writer);
  const int64_t counters[] = {epoch + 1, summary_.best_epoch, waited_};
  writer.add("trainer.counters", counters, {3});
  writer.add("trainer.best", &summary_.best, {1});
  writer.write(out_ + "/state.safetensors");
}

bool Training::resume() {
  if (!fs::exists(out_ + "/state.safetensors")) {
    say("there is nothing to resume in " + out_ + ": starting anew");
    return false;
  }
  check_same(out_, config_);
  load_model(out_ + "/last.safetensors", model_);
  const SafetensorsFile state = SafetensorsFile::open(out_ + "/state.safetensors");
  step_->optimizer().load_state(state, model_.parameters().all());
  if (step_->average()) step_->average()->load_state(state);
  const int64_t* counters = state.data<int64_t>("trainer.counters", {3});
  first_epoch_ = counters[0], summary_.best_epoch = counters[1], waited_ = counters[2];
  summary_.epochs = first_epoch_;
  summary_.best = *state.data<double>("trainer.best", {1});
  keep_metrics(out_ + "/metrics.jsonl", first_epoch_);
  say("resuming after epoch " + std::to_string(first_epoch_));
  return true;
}

}  // namespace

TrainSummary train(const RunConfig& config, const Dataset& data, const std::string& out_dir,
                   const TrainOptions& options) {
  config.model.validate();
  config.train.validate();
  return Training(config, data, out_dir, options).run();
}

}  // namespace tt
