#include <twotower/tensor/error.h>
#include <twotower/train/data/fingerprint.h>
#include <twotower/train/evaluate/serving.h>

#include <algorithm>

namespace tt {
namespace {

void check_side(const char* side, int64_t model_width, int64_t data_width, int64_t table, int64_t rows) {
  check(model_width == 0 || model_width == data_width, "retrieve", "the model reads ", model_width, " ", side,
        " features, the dataset has ", data_width, "; serve it on data with the columns it was trained on");
  check(table >= rows, "retrieve", "the model knows ", table, " ", side, "s, the dataset has ", rows,
        "; serve it on the data it was trained on, or train again");
}

}  // namespace

UserMoment latest_moment(const Dataset& data, int64_t user) {
  return {user, data.history_offsets()[user + 1] - data.history_offsets()[user]};
}

UserItems seen_in_all(const Dataset& data) {
  const UserItems before = data.seen_before(Split::test);
  const Impressions& test = data.split(Split::test);
  std::vector<std::vector<int32_t>> more(static_cast<size_t>(data.num_users()));
  for (int64_t i = 0; i < test.size; ++i) more[static_cast<size_t>(test.user[i])].push_back(test.item[i]);
  UserItems out;
  out.offsets.push_back(0);
  for (int64_t u = 0; u < data.num_users(); ++u) {
    std::vector<int32_t>& items = more[static_cast<size_t>(u)];
    items.insert(items.end(), before.of(u).begin(), before.of(u).end());
    std::sort(items.begin(), items.end());
    out.items.insert(out.items.end(), items.begin(), std::unique(items.begin(), items.end()));
    out.offsets.push_back(static_cast<int64_t>(out.items.size()));
  }
  return out;
}

ServedDataset::ServedDataset(const Bundle& bundle, const Dataset& data)
    : data_(data), learnt_users_(bundle.learnt_users()), recommender_(std::make_unique<Recommender>(bundle)) {
  check(bundle.has_users(), "evaluate", "the bundle ", bundle.path(),
        " holds no users (--no-users), whom an evaluation asks about; make one with them with `twotower pack`");
  check_rows(data, bundle.data().rows, bundle.path());
}

ServedDataset::ServedDataset(const TwoTower<float>& model, const Dataset& data, LearntRows learnt)
    : data_(data), learnt_(std::move(learnt)), learnt_users_(learnt_.users) {
  const ModelConfig& config = model.config();
  check_side("user", config.user_features_size, data.user_features_size(), config.user_id_hash_size, data.num_users());
  check_side("item", config.item_features_size, data.item_features_size(), config.item_id_hash_size, data.num_items());
  check(!config.history || config.history_actions == 0 || config.history_actions == data.num_actions(), "retrieve",
        "the model reads ", config.history_actions, " kinds of history action, the dataset has ", data.num_actions());
  check(config.num_tasks() == data.num_tasks(), "retrieve", "the model weighs ", config.num_tasks(),
        " labels, the dataset has ", data.num_tasks(), "; serve it on the data it was trained on");
  vectors_.resize(static_cast<size_t>(data.num_items() * config.item_id_embedding_dim));
  serve(model);
}

// A catalog never changes, so it is made anew.
void ServedDataset::serve(const TwoTower<float>& model) {
  const int64_t items = data_.num_items();
  encode_items(model, {items, learnt_.items.data(), data_.item_features()}, vectors_.data());
  std::span<const uint8_t> available;
  if (data_.available()) available = {data_.available(), static_cast<size_t>(items)};
  const Tensor<const float> vectors(vectors_.data(), {items, model.config().item_id_embedding_dim});
  recommender_ = std::make_unique<Recommender>(model, Catalog(vectors, learnt_.items, available));
}

ServedUser ServedDataset::user(const UserMoment& moment, const UserItems* seen) const {
  check(moment.user >= -1 && moment.user < data_.num_users(), "retrieve", "user row ", moment.user, " is not in 0 .. ",
        data_.num_users() - 1, "; -1 stands for an unknown user");
  const auto actions = moment.user < 0 ? std::span<const int32_t>() : data_.user_actions(moment.user);
  check(moment.history_end >= 0 && moment.history_end <= static_cast<int64_t>(actions.size()), "retrieve", "user row ",
        moment.user, " has ", actions.size(), " actions, not ", moment.history_end);
  ServedUser out;
  if (moment.user < 0) return out;
  const ModelConfig& config = model().config();
  if (learnt_users_[static_cast<size_t>(moment.user)] != 0) out.row = moment.user;
  if (const int64_t width = config.user_features_size; width > 0)
    out.features = {data_.user_features() + moment.user * width, static_cast<size_t>(width)};
  out.history = actions.first(static_cast<size_t>(moment.history_end));
  if (config.history && config.history_actions > 0)
    out.actions = {data_.history_actions() + data_.history_offsets()[moment.user] * data_.num_actions(),
                   static_cast<size_t>(moment.history_end * data_.num_actions())};
  if (seen) out.leave_out = seen->of(moment.user);
  return out;
}

void ServedDataset::top(Session& session, std::span<const UserMoment> users, const Ask& ask, const UserItems* seen,
                        TopItems& out) const {
  std::vector<ServedUser> served;
  for (const UserMoment& moment : users) served.push_back(user(moment, seen));
  recommender_->recommend(session, served, ask, out);
}

void ServedDataset::encode(Session& session, std::span<const UserMoment> users, float* out) const {
  std::vector<ServedUser> served;
  for (const UserMoment& moment : users) served.push_back(user(moment));
  recommender_->encode(session, served, out);
}

}  // namespace tt
