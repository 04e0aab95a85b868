#include <twotower/tensor/error.h>
#include <twotower/tensor/gemm.h>
#include <twotower/tensor/parallel.h>
#include <twotower/train/batches/loader.h>
#include <twotower/train/data/positives.h>
#include <twotower/train/evaluate/serving.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace tt {
namespace {

constexpr int64_t kItemTile = 4096;  // items through the tower at a time
constexpr int64_t kUserTile = 256;   // users at a time
constexpr int64_t kRankTile = 2048;  // items whose scores are held at a time to count who comes first
constexpr int64_t kPairTile = 4096;  // user-item pairs through the light ranker at a time

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

Retriever::Retriever(const TwoTower<float>& model, const Dataset& data)
    : model_(model), data_(data), tape_(arena_, /*recording=*/false) {
  const ModelConfig& config = model.config();
  check_side("user", config.user_features_size, data.user_features_size(), config.user_id_hash_size, data.num_users());
  check_side("item", config.item_features_size, data.item_features_size(), config.item_id_hash_size, data.num_items());
  check(!config.history || config.history_actions == 0 || config.history_actions == data.num_actions(), "retrieve",
        "the model reads ", config.history_actions, " kinds of history action, the dataset has ", data.num_actions());
  check(config.num_tasks() == data.num_tasks(), "retrieve", "the model weighs ", config.num_tasks(),
        " labels, the dataset has ", data.num_tasks(), "; serve it on the data it was trained on");
  find_learnt();
  items_ = make_tensor<float>(pool_, {data.num_items(), config.item_id_embedding_dim});
  serve_only_added(false);
  refresh();
}

// An embedding that no training row has touched is still the random numbers it began with; such a user or item is
// better served from features (and history) alone.
void Retriever::find_learnt() {
  const Impressions& log = data_.split(Split::train);
  const ModelConfig& config = model_.config();
  const bool all_rows = learns_from_all_rows(config);
  learnt_users_.assign(static_cast<size_t>(data_.num_users()), 0);
  const bool all_items = config.full_softmax || config.mixed_negatives > 0;  // every item is a column now and then
  learnt_items_.assign(static_cast<size_t>(data_.num_items()), all_items);
  for (int64_t i = 0; i < log.size; ++i) {
    if (!all_rows && !has_value(log.labels + i * data_.num_tasks(), config.user_value_weights)) continue;
    learnt_users_[static_cast<size_t>(log.user[i])] = 1;
    learnt_items_[static_cast<size_t>(log.item[i])] = 1;
  }
}

void Retriever::refresh() {
  const ModelConfig& config = model_.config();
  const int64_t width = config.item_features_size, known = data_.num_items();
  for (int64_t lo = 0; lo < items_.rows(); lo += kItemTile) {
    const int64_t n = std::min(kItemTile, items_.rows() - lo);
    const Tensor<int64_t> id = make_tensor<int64_t>(arena_, {n});
    const Tensor<float> features = width > 0 ? make_tensor<float>(arena_, {n, width}) : Tensor<float>();
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = lo + i;
      id[i] = row < known && learnt_items_[static_cast<size_t>(row)] ? row : -1;
      if (width > 0)
        std::copy_n(row < known ? data_.item_features() + row * width : added_.data() + (row - known) * width, width,
                    features.row(i));
    }
    ItemInputs<float> inputs;
    inputs.id = id;
    inputs.features = features;
    const Tensor<float> v = model_.items(tape_, inputs).value();
    std::copy(v.begin(), v.end(), items_.row(lo));
    tape_.reset();
  }
}

void Retriever::add_items(std::span<const float> features) {
  const int64_t width = model_.config().item_features_size, n = static_cast<int64_t>(features.size());
  check(width > 0, "retrieve",
        "the model has no item features, so all added items would look the same; train one with "
        "item features");
  check(n % width == 0, "retrieve", "the features of the added items hold ", n, " numbers, no multiple of the model's ",
        width);
  added_.insert(added_.end(), features.begin(), features.end());
  items_ = make_tensor<float>(pool_, {data_.num_items() + static_cast<int64_t>(added_.size()) / width, items_.cols()});
  serve_only_added(first_ > 0);
  refresh();
}

void Retriever::serve_only_added(bool only) {
  first_ = only ? data_.num_items() : 0;
  index_ = ExactIndex({items_.data() + first_ * items_.cols(), {items_.rows() - first_, items_.cols()}});
}

// What the user tower reads, gathered into the arena.
UserInputs<float> Retriever::inputs(std::span<const UserMoment> users) {
  const auto n = static_cast<int64_t>(users.size());
  const int64_t* starts = data_.history_offsets();
  const Tensor<int64_t> rows = make_tensor<int64_t>(arena_, {n}), ids = make_tensor<int64_t>(arena_, {n}),
                        ends = make_tensor<int64_t>(arena_, {n});
  for (int64_t i = 0; i < n; ++i) {
    const UserMoment& m = users[static_cast<size_t>(i)];
    check(m.user >= -1 && m.user < data_.num_users(), "retrieve", "user row ", m.user, " is not in 0 .. ",
          data_.num_users() - 1, "; -1 stands for an unknown user");
    const int64_t actions = m.user < 0 ? 0 : starts[m.user + 1] - starts[m.user];
    check(m.history_end >= 0 && m.history_end <= actions, "retrieve", "user row ", m.user, " has ", actions,
          " actions, not ", m.history_end);
    rows[i] = m.user;
    ids[i] = m.user >= 0 && learnt_users_[static_cast<size_t>(m.user)] ? m.user : -1;
    ends[i] = m.history_end;
  }
  UserInputs<float> out;
  if (model_.config().user_features_size > 0)
    out.features = gather_features(data_.user_features(), data_.user_features_size(), rows.data(), n, arena_);
  gather_histories(data_, model_.config(), rows.data(), ends.data(), n, arena_, out);
  out.id = ids;
  return out;
}

// The same for users whom the dataset does not know.
UserInputs<float> Retriever::inputs(std::span<const NewUser> users) {
  const ModelConfig& config = model_.config();
  const auto n = static_cast<int64_t>(users.size());
  const int64_t width = config.user_features_size, kinds = config.history_actions;
  const Tensor<int64_t> ids = make_tensor<int64_t>(arena_, {n}), offsets = make_tensor<int64_t>(arena_, {n + 1});
  const Tensor<float> features = width > 0 ? make_tensor<float>(arena_, {n, width}) : Tensor<float>();
  offsets[0] = 0;
  for (int64_t i = 0; i < n; ++i) {
    const NewUser& user = users[static_cast<size_t>(i)];
    ids[i] = -1;
    offsets[i + 1] = offsets[i] + std::min(static_cast<int64_t>(user.history.size()), config.user_history_seqlen);
    for (const int64_t item : user.history)
      check(item >= 0 && item < data_.num_items(), "retrieve", "the history holds the item row ", item,
            ", the dataset has 0 .. ", data_.num_items() - 1);
    if (width == 0) continue;
    check(user.features.empty() || static_cast<int64_t>(user.features.size()) == width, "retrieve", "a new user has ",
          user.features.size(), " features, the model reads ", width);
    if (user.features.empty())
      std::fill_n(features.row(i), width, 0.0f);
    else
      std::copy(user.features.begin(), user.features.end(), features.row(i));
  }
  const Tensor<int64_t> items = make_tensor<int64_t>(arena_, {offsets[n]});
  for (int64_t i = 0; i < n; ++i)
    std::copy_n(users[static_cast<size_t>(i)].history.data(), offsets[i + 1] - offsets[i], items.data() + offsets[i]);
  UserInputs<float> out;
  out.id = ids, out.features = features, out.history_offsets = offsets, out.history_items = items;
  if (kinds > 0) {
    const Tensor<uint8_t> actions = make_tensor<uint8_t>(arena_, {offsets[n], kinds});
    for (int64_t i = 0; i < actions.numel(); ++i) actions[i] = i % kinds == 0;
    out.history_actions = actions;
  }
  return out;
}

template <class User>
void Retriever::encode_tile(std::span<const User> users, float* u, float* ranker) {
  const auto served = model_.serve(tape_, inputs(users));
  const Tensor<float> vectors = served.u.value();
  std::copy(vectors.begin(), vectors.end(), u);
  if (ranker) {
    const Tensor<float> wide = served.ranker.value();
    std::copy(wide.begin(), wide.end(), ranker);
  }
  tape_.reset();
}

void Retriever::encode_users(std::span<const UserMoment> users, float* out) {
  const int64_t d = items_.cols();
  for (size_t lo = 0; lo < users.size(); lo += kUserTile) {
    const auto tile = users.subspan(lo, std::min<size_t>(kUserTile, users.size() - lo));
    encode_tile<UserMoment>(tile, out + static_cast<int64_t>(lo) * d, nullptr);
  }
}

// values[p] = the light ranker's value of item item_of[p] for user user_of[p]; an item of -1 is skipped.
void Retriever::light_values(int64_t pairs, const int64_t* user_of, const int64_t* item_of, const float* u,
                             const float* ranker, float* values) {
  const LightRanker<float>& light = *model_.light_ranker();
  const int64_t d = items_.cols(), wide = model_.config().num_ranker_user_embeddings * d;
  for (int64_t lo = 0; lo < pairs; lo += kPairTile) {
    const int64_t n = std::min(kPairTile, pairs - lo);
    const auto pair_users = make_tensor<float>(arena_, {n, d}), pair_items = make_tensor<float>(arena_, {n, d});
    const auto pair_wide = make_tensor<float>(arena_, {n, wide});
    parallel_for(0, n, 256, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const int64_t user = user_of[lo + p], item = std::max<int64_t>(item_of[lo + p], 0);
        std::copy_n(u + user * d, d, pair_users.row(p));
        std::copy_n(ranker + user * wide, wide, pair_wide.row(p));
        std::copy_n(items_.row(item), d, pair_items.row(p));
      }
    });
    const Tensor<float> logits =
        light.logits(tape_, tape_.constant(pair_wide), tape_.constant(pair_users), tape_.constant(pair_items)).value();
    for (int64_t p = 0; p < n; ++p) {
      const float value = light.value(logits.row(p));
      values[lo + p] = std::isnan(value) ? -std::numeric_limits<float>::infinity() : value;
    }
    tape_.reset();
  }
}

// Reorders each user's candidates by value and keeps the k best in rows first, first + 1, ... of `out`.
void Retriever::rerank(int64_t users, const float* u, const float* ranker, TopItems& candidates, int64_t k,
                       TopItems& out, int64_t first) {
  const int64_t m = candidates.k;
  std::vector<int64_t> user_of(static_cast<size_t>(users * m));
  for (size_t p = 0; p < user_of.size(); ++p) user_of[p] = static_cast<int64_t>(p) / m;
  light_values(users * m, user_of.data(), candidates.rows.data(), u, ranker, candidates.values.data());
  std::vector<int64_t> order;
  for (int64_t q = 0; q < users; ++q) {
    const auto items = candidates.items(q);
    const auto values = candidates.scores(q);
    order.resize(items.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      const auto i = static_cast<size_t>(a), j = static_cast<size_t>(b);
      return values[i] != values[j] ? values[i] > values[j] : items[i] < items[j];
    });
    const auto found = std::min<int64_t>(k, static_cast<int64_t>(order.size()));
    for (int64_t r = 0; r < found; ++r) {
      const auto at = static_cast<size_t>((first + q) * k + r);
      out.rows[at] = items[static_cast<size_t>(order[static_cast<size_t>(r)])];
      out.values[at] = values[static_cast<size_t>(order[static_cast<size_t>(r)])];
    }
    for (int64_t r = found; r < k; ++r) {
      const auto at = static_cast<size_t>((first + q) * k + r);
      out.rows[at] = -1, out.values[at] = -std::numeric_limits<float>::infinity();
    }
    out.counts[static_cast<size_t>(first + q)] = found;
  }
}

template <class User>
void Retriever::retrieve_tiles(std::span<const User> users, int64_t k, TopItems& out,
                               const std::function<void(const User&, std::vector<int64_t>&)>& skip_of) {
  check(k >= 1, "retrieve", "k = ", k, "; ask for at least 1 item");
  const int64_t d = items_.cols(), wide = model_.config().num_ranker_user_embeddings * d;
  const bool light = has_light_ranker(), filter = skip_of && first_ == 0;  // nobody has seen what was added
  out.resize(static_cast<int64_t>(users.size()), k);
  std::vector<float> u, ranker;
  SkipRows skip;
  TopItems tile_out;
  for (size_t lo = 0; lo < users.size(); lo += kUserTile) {
    const auto tile = users.subspan(lo, std::min<size_t>(kUserTile, users.size() - lo));
    const auto n = static_cast<int64_t>(tile.size());
    u.resize(static_cast<size_t>(n * d));
    if (light) ranker.resize(static_cast<size_t>(n * wide));
    encode_tile(tile, u.data(), light ? ranker.data() : nullptr);
    skip.clear();
    if (filter)
      for (const User& user : tile) {
        skip_of(user, skip.rows);
        skip.offsets.push_back(static_cast<int64_t>(skip.rows.size()));
      }
    const int64_t ask = light ? std::max(k, std::min(model_.config().num_mips_items, index_.size())) : k;
    index_.search({u.data(), {n, d}}, ask, tile_out, filter ? &skip : nullptr);
    for (int64_t& row : tile_out.rows) row += row >= 0 ? first_ : 0;
    if (light) {
      rerank(n, u.data(), ranker.data(), tile_out, k, out, static_cast<int64_t>(lo));
    } else {
      const auto at = static_cast<int64_t>(lo);
      std::copy(tile_out.rows.begin(), tile_out.rows.end(), out.rows.begin() + at * k);
      std::copy(tile_out.values.begin(), tile_out.values.end(), out.values.begin() + at * k);
      std::copy(tile_out.counts.begin(), tile_out.counts.end(), out.counts.begin() + at);
    }
  }
}

void Retriever::retrieve(std::span<const UserMoment> users, int64_t k, TopItems& out, const UserItems* seen) {
  std::function<void(const UserMoment&, std::vector<int64_t>&)> skip;
  if (seen)
    skip = [seen](const UserMoment& m, std::vector<int64_t>& rows) {
      if (m.user < 0) return;
      const auto list = seen->of(m.user);
      rows.insert(rows.end(), list.begin(), list.end());
    };
  retrieve_tiles(users, k, out, skip);
}

void Retriever::retrieve(std::span<const NewUser> users, int64_t k, TopItems& out, bool include_seen) {
  std::function<void(const NewUser&, std::vector<int64_t>&)> skip;
  if (!include_seen)
    skip = [](const NewUser& user, std::vector<int64_t>& rows) {
      std::vector<int64_t> seen = user.history;
      std::sort(seen.begin(), seen.end());
      rows.insert(rows.end(), seen.begin(), std::unique(seen.begin(), seen.end()));
    };
  retrieve_tiles(users, k, out, skip);
}

void Retriever::first_ranks(std::span<const UserMoment> users, const SkipRows& relevant, const UserItems* seen,
                            int64_t* ranks) {
  check(!has_light_ranker(), "retrieve", "a light ranker has no place for items that are not its candidates");
  const int64_t d = items_.cols();
  std::vector<float> u(static_cast<size_t>(kUserTile * d)), scores(static_cast<size_t>(kUserTile * kRankTile));
  struct Best {
    int64_t item;
    float score;
  };
  std::vector<Best> best(static_cast<size_t>(kUserTile));
  for (size_t lo = 0; lo < users.size(); lo += kUserTile) {
    const auto tile = users.subspan(lo, std::min<size_t>(kUserTile, users.size() - lo));
    const auto n = static_cast<int64_t>(tile.size());
    encode_users(tile, u.data());
    for (int64_t q = 0; q < n; ++q) {
      Best& b = best[static_cast<size_t>(q)] = {-1, 0};
      const size_t list = lo + static_cast<size_t>(q);
      for (int64_t at = relevant.offsets[list]; at < relevant.offsets[list + 1]; ++at) {
        const int64_t item = relevant.rows[static_cast<size_t>(at)];
        const float score = std::inner_product(items_.row(item), items_.row(item) + d, u.data() + q * d, 0.0f);
        if (b.item < 0 || score > b.score || (score == b.score && item < b.item)) b = {item, score};
      }
      ranks[lo + static_cast<size_t>(q)] = b.item < 0 ? 0 : 1;
    }
    for (int64_t first = 0; first < items_.rows(); first += kRankTile) {
      const int64_t m = std::min(kRankTile, items_.rows() - first);
      gemm(false, true, n, m, d, 1.0f, u.data(), d, items_.row(first), d, 0.0f, scores.data(), m);  // [n, m]
      parallel_for(0, n, 16, [&](int64_t begin, int64_t end) {
        for (int64_t q = begin; q < end; ++q) {
          const Best b = best[static_cast<size_t>(q)];
          if (b.item < 0) continue;
          const float* row = scores.data() + q * m;
          const auto before = [&](int64_t i) {  // item first + i comes before the best relevant one
            return first + i != b.item && (row[i] > b.score || (row[i] == b.score && first + i < b.item));
          };
          int64_t ahead = 0;
          for (int64_t i = 0; i < m; ++i) ahead += before(i);
          const int64_t user = tile[static_cast<size_t>(q)].user;
          if (seen && user >= 0) {
            const auto list = seen->of(user);
            for (auto s = std::lower_bound(list.begin(), list.end(), first); s != list.end() && *s < first + m; ++s)
              ahead -= before(*s - first);
          }
          ranks[lo + static_cast<size_t>(q)] += ahead;
        }
      });
    }
  }
}

void Retriever::score(const UserMoment& user, std::span<const int64_t> items, float* out) {
  const int64_t d = items_.cols(), wide = model_.config().num_ranker_user_embeddings * d;
  const bool light = has_light_ranker();
  std::vector<float> u(static_cast<size_t>(d)), ranker(light ? static_cast<size_t>(wide) : 0);
  encode_tile<UserMoment>({&user, 1}, u.data(), light ? ranker.data() : nullptr);
  if (light) {
    const std::vector<int64_t> user_of(items.size(), 0);
    light_values(static_cast<int64_t>(items.size()), user_of.data(), items.data(), u.data(), ranker.data(), out);
    return;
  }
  for (size_t i = 0; i < items.size(); ++i) out[i] = std::inner_product(u.begin(), u.end(), items_.row(items[i]), 0.0f);
}

}  // namespace tt
