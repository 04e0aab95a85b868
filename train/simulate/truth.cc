#include <twotower/tensor/error.h>
#include <twotower/train/simulate/truth.h>

#include <algorithm>

namespace tt {

Truth Truth::load(const Dataset& data) {
  const std::string path = data.dir() + "/truth.safetensors", where = "dataset " + path;
  check(data.has_truth(), "dataset " + data.dir(),
        "has no truth.safetensors; only a dataset made by `twotower simulate` knows the truth");
  Truth truth;
  truth.file_ = SafetensorsFile::open(path);
  const auto rows = [&](const char* name) {
    const auto& shape = truth.file_.entry(name).shape;
    check(!shape.empty() && shape[0] > 0, where, "tensor \"", name, "\" is empty; simulate the dataset again");
    return shape[0];
  };
  truth.users_ = rows("propensity");
  truth.items_ = rows("popularity");
  truth.tasks_ = rows("value_weights");
  truth.positions_ = rows("examination");
  check(truth.users_ == data.num_users() && truth.items_ == data.num_items() && truth.tasks_ == data.num_tasks(), where,
        "knows ", truth.users_, " users, ", truth.items_, " items and ", truth.tasks_, " labels, the dataset has ",
        data.num_users(), ", ", data.num_items(), " and ", data.num_tasks(),
        "; it belongs to another dataset: remove it, or simulate again");
  rows("truth.user");
  truth.latent_ = truth.file_.entry("truth.user").shape.back();
  truth.read_rows(where);
  truth.truth_ = truth.read_scorer("truth");
  truth.ranker_ = truth.read_scorer("ranker");
  truth.examination_ = truth.file_.data<float>("examination", {truth.positions_});
  truth.propensity_ = truth.file_.data<float>("propensity", {truth.users_});
  truth.popularity_ = truth.file_.data<float>("popularity", {truth.items_});
  const float* weights = truth.file_.data<float>("value_weights", {truth.tasks_});
  truth.weights_.assign(weights, weights + truth.tasks_);
  return truth;
}

// Which rows of the users' vectors are whose, and from when on; without drift, a row a user.
void Truth::read_rows(const std::string& where) {
  rows_ = users_;
  if (!file_.has("user_offsets")) return;
  user_offsets_ = file_.data<int64_t>("user_offsets", {users_ + 1});
  rows_ = file_.entry("truth.user").shape[0];
  user_since_ = file_.data<double>("user_since", {rows_});
  bool good = user_offsets_[0] == 0 && user_offsets_[users_] == rows_;
  for (int64_t u = 0; good && u < users_; ++u) good = user_offsets_[u] < user_offsets_[u + 1];
  check(good, where, "user_offsets do not run from 0 to ", rows_, "; simulate the dataset again");
}

int64_t Truth::row(int64_t user, double time) const {
  if (!user_offsets_) return user;
  const double *first = user_since_ + user_offsets_[user], *end = user_since_ + user_offsets_[user + 1];
  return std::max(first, std::upper_bound(first, end, time) - 1) - user_since_;
}

LatentScorer Truth::read_scorer(const std::string& prefix) const {
  LatentScorer s;
  s.latent = latent_;
  s.user = file_.data<float>(prefix + ".user", {rows_, latent_});
  s.item = file_.data<float>(prefix + ".item", {items_, latent_});
  s.quality = file_.data<float>(prefix + ".quality", {items_});
  s.task = file_.data<float>(prefix + ".task", {tasks_, latent_});
  s.offset = file_.data<float>(prefix + ".offset", {tasks_});
  s.gain = file_.data<float>(prefix + ".gain", {tasks_});
  if (file_.has(prefix + ".shift")) s.shift = file_.data<float>(prefix + ".shift", {items_});
  return s;
}

void Truth::check_pair(int64_t user, int64_t item, int64_t task) const {
  check(user >= 0 && user < users_ && item >= 0 && item < items_ && task >= 0 && task < tasks_, "truth", "user ", user,
        ", item ", item, ", task ", task, " is out of range of ", users_, " users, ", items_, " items, ", tasks_,
        " tasks");
}

double Truth::value(const LatentScorer& scorer, int64_t row, int64_t item) const {
  double sum = 0;
  for (int64_t t = 0; t < tasks_; ++t) sum += weights_[static_cast<size_t>(t)] * scorer.probability(row, item, t);
  return sum;
}

double Truth::true_probability(int64_t user, double time, int64_t item, int64_t task) const {
  check_pair(user, item, task);
  return truth_.probability(row(user, time), item, task);
}

double Truth::ranker_probability(int64_t user, double time, int64_t item, int64_t task) const {
  check_pair(user, item, task);
  return ranker_.probability(row(user, time), item, task);
}

double Truth::true_value(int64_t user, double time, int64_t item) const {
  check_pair(user, item, 0);
  return value(truth_, row(user, time), item);
}

double Truth::ranker_value(int64_t user, double time, int64_t item) const {
  check_pair(user, item, 0);
  return value(ranker_, row(user, time), item);
}

void Truth::true_values(int64_t user, double time, float* out) const {
  check_pair(user, 0, 0);
  const int64_t now = row(user, time);
  for (int64_t i = 0; i < items_; ++i) out[i] = static_cast<float>(value(truth_, now, i));
}

void Truth::ranker_values(int64_t user, double time, float* out) const {
  check_pair(user, 0, 0);
  const int64_t now = row(user, time);
  for (int64_t i = 0; i < items_; ++i) out[i] = static_cast<float>(value(ranker_, now, i));
}

void Truth::true_probabilities(int64_t user, double time, int64_t task, float* out) const {
  check_pair(user, 0, task);
  const int64_t now = row(user, time);
  for (int64_t i = 0; i < items_; ++i) out[i] = static_cast<float>(truth_.probability(now, i, task));
}

void Truth::ranker_probabilities(int64_t user, double time, int64_t task, float* out) const {
  check_pair(user, 0, task);
  const int64_t now = row(user, time);
  for (int64_t i = 0; i < items_; ++i) out[i] = static_cast<float>(ranker_.probability(now, i, task));
}

double Truth::examination(int64_t position) const {
  check(position >= 0, "truth", "position ", position, " is negative");
  return examination_[std::min(position, positions_ - 1)];
}

double Truth::propensity(int64_t user) const {
  check_pair(user, 0, 0);
  return propensity_[user];
}

}  // namespace tt
