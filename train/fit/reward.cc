#include <twotower/layers/checkpoint.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/evaluate/examination.h>
#include <twotower/train/evaluate/statistics.h>
#include <twotower/train/fit/reward.h>
#include <twotower/train/optim/adam.h>
#include <twotower/train/optim/schedule.h>

#include <cmath>
#include <numeric>
#include <utility>

namespace tt {
namespace {

constexpr double kRate = 0.01;
// What is tried where the config leaves it open: the plain value, and what suits drifting tastes or noisy scores.
constexpr double kRecency = 1, kNewerRecency = 0.4;
constexpr double kWeightDecay = 0.03, kStrongerDecay = 0.3;
// A stronger decay is taken where it leaves so much less unexplained: drift looks like noise, too, but only a little.
constexpr double kWorthIt = 0.98;

double mean_of(const float* values, int64_t n) {
  return std::accumulate(values, values + n, 0.0) / static_cast<double>(n);
}

std::string member_name(int64_t m) { return "reward" + std::to_string(m); }

}  // namespace

std::vector<float> examination_of(const Dataset& data, Split split) {
  if (!data.has_positions()) return {};
  const ExaminationCurve curve = estimate_examination(data);
  const Impressions& log = data.split(split);
  std::vector<float> out;
  for (int64_t i = 0; i < log.size; ++i) out.push_back(static_cast<float>(curve.of(log.position[i])));
  return out;
}

Reward Reward::train(const Dataset& data, const RunConfig& config, const RankerPairs& pairs, const Progress& progress,
                     std::optional<Reward> first) {
  const TrainConfig& train = config.train;
  Reward reward(config.model);
  if (first) reward.members_ = std::move(first->members_);
  const int64_t members = config.model.reward_members;
  const std::vector<float> examination = examination_of(data, Split::train);
  const double decay = train.reward_weight_decay < 0 ? kWeightDecay : train.reward_weight_decay;
  int64_t done = 0;
  for (auto m = static_cast<int64_t>(reward.members_.size()); m < members; ++m) {
    const auto seed = static_cast<uint64_t>(train.seed + 1000 * (m + 1));
    auto member = std::make_unique<RewardModel<float>>(config.model, member_name(m), seed);
    ListOptions options = list_options(train);
    options.seed = seed;
    ListLoader lists(data, member->config(), options, pairs, examination);
    Adam<float> adam({.learning_rate = kRate, .weight_decay = decay});
    const Schedule schedule{kRate, 0, "cosine"};
    const int64_t steps = train.reward_passes * lists.batches();
    Arena arena;
    Tape<float> tape(arena);
    for (int64_t pass = 0; pass < train.reward_passes; ++pass) {
      lists.start_pass(pass);
      while (const ListBatch<float>* batch = lists.next()) {
        tape.reset();
        const Variable<float> loss = member->fit_loss(tape, *batch, config.model.reward_labels);
        check(std::isfinite(loss.item()), "train", "the reward model's loss is ", loss.item(),
              "; look at the ranker's scores");
        const Gradients<float> gradients = tape.backward(loss);
        adam.set_learning_rate(schedule.at(adam.steps() + 1, steps));
        adam.step(member->parameters().all(), gradients);
        ++done;
        if (progress) progress(done, members * steps, static_cast<double>(loss.item()));
      }
    }
    reward.members_.push_back(std::move(member));
  }
  reward.freeze(data);
  return reward;
}

std::optional<Reward> choose_for_lists(const Dataset& data, RunConfig& config, const RankerPairs& pairs) {
  TrainConfig& train = config.train;
  const bool open_recency = train.list_recency == 0, open_decay = train.reward_weight_decay < 0;
  const bool aligns = config.model.aligns_with_model();
  if (!open_recency && !(open_decay && aligns)) return {};
  if (data.split(Split::valid).size == 0 || !data.split(Split::valid).ranker_scores) return {};

  struct Choice {
    double recency, decay, explained;
    Reward reward;
  };
  // Of the log alone: what was asked is of one moment, and says nothing of which moments count.
  const auto choice = [&](double recency, double decay) {
    RunConfig one = config;
    one.model.reward_members = 1;
    one.train.list_recency = recency, one.train.reward_weight_decay = decay;
    Reward reward = Reward::train(data, one, {});
    const double explained = reward.check_against(data, config.model, Split::valid).explained;
    return Choice{recency, decay, explained, std::move(reward)};
  };
  const auto better = [](Choice a, Choice b) { return b.explained > a.explained ? std::move(b) : std::move(a); };
  const double recency = open_recency ? kRecency : train.list_recency;
  const double decay = open_decay ? kWeightDecay : train.reward_weight_decay;
  Choice best = choice(recency, decay);
  const double plain = best.explained;
  if (open_recency) best = better(std::move(best), choice(kNewerRecency, decay));
  if (open_decay) {
    Choice stronger = choice(recency, kStrongerDecay);
    if (best.recency != recency && stronger.explained > plain)  // both help: together, too?
      stronger = better(std::move(stronger), choice(best.recency, kStrongerDecay));
    if (1 - stronger.explained < kWorthIt * (1 - best.explained)) best = std::move(stronger);
  }
  train.list_recency = best.recency;
  if (!aligns) return {};  // the reward model was but a judge of the recency
  train.reward_weight_decay = best.decay;
  if (pairs.size() > 0) return {};
  return std::move(best.reward);
}

void Reward::freeze(const Dataset& data) {
  const int64_t corpus = data.num_items();
  std::vector<int64_t> ids(static_cast<size_t>(corpus));
  std::iota(ids.begin(), ids.end(), 0);
  Arena arena;
  Tape<float> tape(arena, /*recording=*/false);
  items_.clear();
  for (const auto& member : members_) {
    tape.reset();
    const Tensor<float> v =
        member->items(tape, {{ids.data(), {corpus}}, {data.item_features(), {corpus, data.item_features_size()}}})
            .value();
    items_.emplace_back(v.begin(), v.end());
  }
}

auto Reward::encode(const ListBatch<float>& batch, Arena& arena) const -> Encoded {
  Tape<float> tape(arena, /*recording=*/false);
  Encoded users;
  for (const auto& member : members_) users.emplace_back(member->users(tape, batch.user).value());
  return users;
}

void Reward::member_probabilities(const ListBatch<float>& batch, const Encoded& users, size_t m, int64_t row,
                                  int64_t entry, float* out) const {
  const int64_t item = batch.item.id[batch.lists.columns[entry]];
  members_[m]->probabilities(users[m].row(row), items_[m].data() + item * members_[m]->width(), out);
}

Tensor<const float> Reward::values(const ListBatch<float>& batch, Arena& arena) const {
  const Tensor<float> out = make_tensor<float>(arena, {batch.lists.columns.numel()});
  const Encoded users = encode(batch, arena);
  parallel_for(0, batch.size(), 8, [&](int64_t lo, int64_t hi) {
    std::vector<float> p(weights_.size());
    for (int64_t i = lo; i < hi; ++i)
      for (int64_t k = batch.lists.offsets[i]; k < batch.lists.offsets[i + 1]; ++k) {
        double sum = 0, squares = 0;
        for (size_t m = 0; m < members_.size(); ++m) {
          member_probabilities(batch, users, m, i, k, p.data());
          const auto value = static_cast<double>(value_log_odds(p.data(), weights_));
          sum += value, squares += value * value;
        }
        const auto count = static_cast<double>(members_.size());
        const double mean = sum / count, squared = std::max(0.0, squares - sum * mean);
        const double spread = count > 1 ? std::sqrt(squared / (count - 1)) : 0;
        out[k] = static_cast<float>(mean - pessimism_ * spread);
      }
  });
  return out;
}

void Reward::save(const std::string& path) const {
  SafetensorsWriter writer;
  for (const auto& member : members_) add_parameters(writer, member->parameters());
  writer.write(path);
}

Reward Reward::load(const std::string& path, const Dataset& data, const ModelConfig& model) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  Reward reward(model);
  for (int64_t m = 0; m < model.reward_members; ++m) {
    reward.members_.push_back(std::make_unique<RewardModel<float>>(model, member_name(m), 0));
    read_parameters(file, reward.members_.back()->parameters());
  }
  reward.freeze(data);
  return reward;
}

Reward::Check Reward::check_against(const Dataset& data, const ModelConfig& model, Split split) const {
  Check found;
  const Impressions& log = data.split(split);
  if (log.size == 0 || !log.ranker_scores) return found;
  const auto tasks = static_cast<size_t>(data.num_tasks());
  found.predicted.assign(tasks, 0), found.logged.assign(tasks, 0);
  ListLoader lists(data, model, {.split = split}, {});
  lists.start_pass(0);
  PairCounts pairs;
  double entries = 0, missed = 0, differing = 0;
  Arena arena;
  std::vector<float> logged, p(tasks);
  while (const ListBatch<float>* batch = lists.next()) {
    arena.reset();
    const Tensor<const float> value = values(*batch, arena);
    const Encoded users = encode(*batch, arena);
    for (int64_t i = 0; i < batch->size(); ++i) {
      logged.clear();
      const int64_t begin = batch->lists.offsets[i], end = batch->lists.offsets[i + 1];
      for (int64_t k = begin; k < end; ++k, ++entries) {
        const float* said = batch->ranker_scores.row(k);
        logged.push_back(value_log_odds(said, weights_));
        for (size_t m = 0; m < members_.size(); ++m) {
          member_probabilities(*batch, users, m, i, k, p.data());
          for (size_t t = 0; t < tasks; ++t)
            found.predicted[t] += static_cast<double>(p[t]) / static_cast<double>(members_.size());
        }
        for (size_t t = 0; t < tasks; ++t) found.logged[t] += static_cast<double>(said[t]);
      }
      const double mean_value = mean_of(value.data() + begin, end - begin);
      const double mean_logged = mean_of(logged.data(), end - begin);
      for (int64_t k = begin; k < end; ++k) {
        const double said = static_cast<double>(logged[static_cast<size_t>(k - begin)]) - mean_logged;
        missed += std::pow(static_cast<double>(value[k]) - mean_value - said, 2), differing += said * said;
      }
      const PairCounts own = count_pairs(value.data() + begin, logged.data(), end - begin);
      pairs.concordant += own.concordant, pairs.discordant += own.discordant, pairs.tied_a += own.tied_a;
    }
  }
  for (size_t t = 0; t < tasks; ++t) found.predicted[t] /= entries, found.logged[t] /= entries;
  const auto differ = static_cast<double>(pairs.concordant + pairs.discordant + pairs.tied_a);
  found.explained = differing > 0 ? 1 - missed / differing : 0;
  found.pairs = differ > 0 ? static_cast<double>(pairs.concordant) / differ : 0;
  return found;
}

}  // namespace tt
