#include <twotower/models/retrieval/encode_items.h>
#include <twotower/models/retrieval/index/exact.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/random.h>
#include <twotower/train/batches/list_loader.h>
#include <twotower/train/batches/loader.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace tt {
namespace {

// Random streams, one a purpose, above the loader's; the pass is added in the upper half.
enum Stream : uint64_t { kShuffle = 201, kChoice, kMoment, kUniform };

constexpr int64_t kDrawn = std::numeric_limits<int64_t>::min();  // an entry that nothing is known of
constexpr float kUnknown = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kTile = 256;  // users encoded at a time

Philox stream(uint64_t seed, Stream purpose, int64_t pass) {
  return Philox(seed, purpose + (static_cast<uint64_t>(pass) << 32));
}

}  // namespace

ListOptions list_options(const BatchOptions& options) {
  constexpr int64_t kOfOneTime = 20;
  const double recency = options.list_recency > 0 ? options.list_recency : 1;
  return {.users = options.list_users,
          .impressions = options.list_impressions == 0 && recency < 1 ? kOfOneTime : options.list_impressions,
          .recency = recency,
          .seed = static_cast<uint64_t>(options.seed)};
}

ListLoader::ListLoader(const Dataset& data, const ModelConfig& model, const ListOptions& options, RankerPairs pairs,
                       std::vector<float> examination)
    : data_(data),
      log_(data.split(options.split)),
      model_(model),
      options_(options),
      pairs_(std::move(pairs)),
      examination_(std::move(examination)),
      last_moment_(data.train_actions()),
      listed_(static_cast<size_t>(data.num_items())),
      column_of_(static_cast<size_t>(data.num_items()), -1) {
  options_.policy = std::min(options_.policy, data.num_available());
  for (int64_t i = 0; i < data.num_items(); ++i) listed_[static_cast<size_t>(i)] = !data.available(i);
  add_lists();
  check(!rows_.empty(), "dataset " + data.dir(), "there is no impression in the ", split_name(options.split),
        " split; there are no lists to learn from");
}

// By user, in time order, cut so that the last lists are full. What was asked about a user is on the last one.
void ListLoader::add_lists() {
  std::vector<int64_t> order(static_cast<size_t>(log_.size));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return log_.user[a] != log_.user[b] ? log_.user[a] < log_.user[b] : log_.time[a] < log_.time[b];
  });
  size_t pair = 0;  // ascending by user
  const auto push_pairs = [&](int32_t user) {
    for (; pair < pairs_.user.size() && pairs_.user[pair] == user; ++pair)
      entries_.push_back(-1 - static_cast<int64_t>(pair));
  };
  const auto add_users_without_impressions = [&](int32_t before) {
    while (pair < pairs_.user.size() && pairs_.user[pair] < before) {
      const auto list = static_cast<int64_t>(entries_.size());
      const auto user = static_cast<int32_t>(pairs_.user[pair]);
      push_pairs(user);
      add_row(user, list);
      close_choice(rows_.size() - 1);
    }
  };
  for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    const int32_t user = log_.user[order[begin]];
    add_users_without_impressions(user);
    while (end < order.size() && log_.user[order[end]] == user) ++end;
    const size_t most = options_.impressions > 0 ? static_cast<size_t>(options_.impressions) : end - begin;
    const size_t first_list = rows_.size();
    for (size_t to = begin + ((end - begin) % most > 0 ? (end - begin) % most : most); begin < end; to += most) {
      const auto list = static_cast<int64_t>(entries_.size());
      for (; begin < to; ++begin) entries_.push_back(order[begin]);
      if (begin == end) push_pairs(user);
      add_row(user, list);
    }
    close_choice(first_list);
  }
  add_users_without_impressions(std::numeric_limits<int32_t>::max());
}

// The entries from `begin` on become a row. Of an item that came twice the later entry stays.
void ListLoader::add_row(int32_t user, int64_t begin) {
  const auto first = entries_.begin() + begin;
  std::stable_sort(first, entries_.end(), [&](int64_t a, int64_t b) { return item(a) < item(b); });
  auto to = first;
  for (auto from = first; from != entries_.end(); ++from)
    if (from + 1 == entries_.end() || item(*from) != item(*(from + 1))) *to++ = *from;
  entries_.erase(to, entries_.end());
  rows_.push_back({user, begin, static_cast<int64_t>(entries_.size())});
}

// The rows from `first` on are one user's: a pass has one of them, the k-th from the last recency^k times as likely as
// the last.
void ListLoader::close_choice(size_t first) {
  likely_.resize(rows_.size());
  double weight = 1, sum = 0;
  for (size_t i = rows_.size(); i-- > first; weight *= options_.recency) sum += likely_[i] = weight;
  for (size_t i = first; i < rows_.size(); ++i) likely_[i] /= sum;
  choices_.push_back(static_cast<int64_t>(rows_.size()));
}

int64_t ListLoader::moment(int64_t entry) const {
  if (entry >= 0) return log_.history_end[entry];
  return last_moment_[static_cast<size_t>(pairs_.user[static_cast<size_t>(-1 - entry)])];
}

const float* ListLoader::scores(int64_t entry) const {
  const int64_t tasks = data_.num_tasks();
  if (entry < 0) return pairs_.scores.data() + (-1 - entry) * tasks;
  return log_.ranker_scores ? log_.ranker_scores + entry * tasks : nullptr;
}

void ListLoader::start_pass(int64_t pass) {
  pass_ = pass, next_ = 0;
  const Philox random = stream(options_.seed, kChoice, pass);
  order_.clear();
  int64_t row = 0;
  for (size_t c = 0; c < choices_.size(); row = choices_[c++]) {
    double left = random.uniform(c);
    while (row + 1 < choices_[c] && (left -= likely_[static_cast<size_t>(row)]) >= 0) ++row;
    order_.push_back(row);
  }
  stream(options_.seed, kShuffle, pass).shuffle(order_.data(), rows_a_pass());
}

const ListBatch<float>* ListLoader::next() {
  if (next_ == batches()) return nullptr;
  // Batches of equal size, give or take one row.
  const int64_t begin = next_ * rows_a_pass() / batches(), end = (next_ + 1) * rows_a_pass() / batches();
  fill(order_.data() + begin, end - begin);
  ++next_;
  return &batch_;
}

void ListLoader::read_users(const int64_t* rows, const int64_t* moments, int64_t n, Arena& arena,
                            UserInputs<float>& users) const {
  const Tensor<int64_t> ids = make_tensor<int64_t>(arena, {n});
  for (int64_t i = 0; i < n; ++i) ids[i] = rows_[static_cast<size_t>(rows[i])].user;
  users = {};
  users.id = ids;
  users.features = gather_features(data_.user_features(), data_.user_features_size(), ids.data(), n, arena);
  if (model_.history) gather_histories(data_, model_, ids.data(), moments, n, arena, users);
}

// Adds the policy's best, which are there for certain, and uniform draws without repeats of what is left.
void ListLoader::draw_candidates(int64_t row, std::vector<int32_t>& items, std::vector<float>& log_q) {
  for (int64_t j = 0; j < options_.policy; ++j)
    if (const int32_t item = best_[static_cast<size_t>(row * options_.policy + j)]; item >= 0) items.push_back(item);
  log_q.resize(items.size(), 0);
  const auto corpus = static_cast<uint64_t>(data_.num_items());
  const auto offered = std::count_if(items.begin(), items.end(), [&](int32_t item) { return data_.available(item); });
  const auto left = static_cast<uint64_t>(data_.num_available() - offered);
  const uint64_t n = std::min<uint64_t>(left, static_cast<uint64_t>(options_.uniform));
  if (n == 0) return;
  for (const int32_t item : items) listed_[static_cast<size_t>(item)] = 1;
  const size_t first = items.size();
  const Philox random = stream(options_.seed, kUniform, pass_ * rows() + row);
  if (2 * n > left) {  // selection sampling (Knuth, The Art of Computer Programming, 3.4.2, algorithm S)
    uint64_t seen = 0;
    for (uint64_t item = 0; item < corpus; ++item) {
      if (listed_[item]) continue;
      if (random.below(seen, left - seen) < first + n - items.size()) items.push_back(static_cast<int32_t>(item));
      ++seen;
    }
  } else {
    for (uint64_t k = 0; items.size() < first + n; ++k) {
      const auto item = static_cast<size_t>(random.below(k, corpus));
      if (!listed_[item]) listed_[item] = 1, items.push_back(static_cast<int32_t>(item));
    }
  }
  log_q.resize(items.size(), std::log(static_cast<float>(n) / static_cast<float>(left)));
  for (const int32_t item : items) listed_[static_cast<size_t>(item)] = !data_.available(item);
}

void ListLoader::fill(const int64_t* rows, int64_t n) {
  arena_.reset();
  const Philox random = stream(options_.seed, kMoment, pass_);
  const Tensor<int64_t> moments = make_tensor<int64_t>(arena_, {n}), offsets = make_tensor<int64_t>(arena_, {n + 1});
  std::vector<int32_t> items, list;
  std::vector<int64_t> entries;
  std::vector<float> log_q, list_log_q;
  offsets[0] = 0;
  for (int64_t i = 0; i < n; ++i) {
    const Row& row = rows_[static_cast<size_t>(rows[i])];
    const auto known = static_cast<uint64_t>(row.end - row.begin);
    moments[i] = moment(entries_[static_cast<size_t>(row.begin) +
                                 random.below(static_cast<uint64_t>(rows - order_.data() + i), known)]);
    list.clear(), list_log_q.assign(known, 0);
    for (int64_t k = row.begin; k < row.end; ++k) list.push_back(item(entries_[static_cast<size_t>(k)]));
    entries.insert(entries.end(), entries_.begin() + row.begin, entries_.begin() + row.end);
    if (!best_.empty()) draw_candidates(rows[i], list, list_log_q);
    entries.resize(entries.size() + list.size() - known, kDrawn);
    items.insert(items.end(), list.begin(), list.end());
    log_q.insert(log_q.end(), list_log_q.begin(), list_log_q.end());
    offsets[i + 1] = static_cast<int64_t>(items.size());
  }
  batch_ = {};
  read_users(rows, moments.data(), n, arena_, batch_.user);
  batch_.lists.offsets = offsets;
  read_items(items);
  read_entries(entries);
  if (best_.empty()) return;
  const Tensor<float> kept = make_tensor<float>(arena_, {static_cast<int64_t>(log_q.size())});
  std::copy(log_q.begin(), log_q.end(), kept.begin());
  batch_.log_q = kept;
}

// The items of the lists, each once, and the lists' columns among them.
void ListLoader::read_items(const std::vector<int32_t>& items) {
  const auto n = static_cast<int64_t>(items.size());
  const Tensor<int32_t> columns = make_tensor<int32_t>(arena_, {n});
  const Tensor<int64_t> ids = make_tensor<int64_t>(arena_, {std::min(n, data_.num_items())});
  int64_t count = 0;
  for (int64_t k = 0; k < n; ++k) {
    const int32_t item = items[static_cast<size_t>(k)];
    int32_t& column = column_of_[static_cast<size_t>(item)];
    if (column < 0) column = static_cast<int32_t>(count), ids[count++] = item;
    columns[k] = column;
  }
  batch_.lists.columns = columns;
  batch_.item.id = {ids.data(), {count}};
  batch_.item.features = gather_features(data_.item_features(), data_.item_features_size(), ids.data(), count, arena_);
  for (const int64_t item : batch_.item.id) column_of_[static_cast<size_t>(item)] = -1;
}

// What the ranker said and the user did.
void ListLoader::read_entries(const std::vector<int64_t>& entries) {
  const auto n = static_cast<int64_t>(entries.size());
  const int64_t tasks = data_.num_tasks();
  const bool scored = log_.ranker_scores != nullptr || pairs_.size() > 0;
  const Tensor<float> labels = make_tensor<float>(arena_, {n, tasks});
  const Tensor<float> scored_by = scored ? make_tensor<float>(arena_, {n, tasks}) : Tensor<float>();
  const Tensor<float> examined = examination_.empty() ? Tensor<float>() : make_tensor<float>(arena_, {n});
  for (int64_t k = 0; k < n; ++k) {
    const int64_t entry = entries[static_cast<size_t>(k)];
    const float* said = entry == kDrawn ? nullptr : scores(entry);
    for (int64_t t = 0; t < tasks; ++t) {
      labels.row(k)[t] = entry >= 0 ? log_.labels[entry * tasks + t] : kUnknown;
      if (scored) scored_by.row(k)[t] = said ? said[t] : kUnknown;
    }
    if (!examination_.empty()) examined[k] = entry >= 0 ? examination_[static_cast<size_t>(entry)] : 1;
  }
  batch_.labels = labels, batch_.ranker_scores = scored_by, batch_.examination = examined;
}

void ListLoader::draw_from(const TwoTower<float>& policy, const std::vector<uint8_t>& learnt) {
  const int64_t corpus = data_.num_items(), d = policy.config().item_id_embedding_dim, k = options_.policy;
  best_.assign(static_cast<size_t>(std::max<int64_t>(rows() * k, 1)), -1);
  if (k == 0) return;
  std::vector<float> vectors(static_cast<size_t>(corpus * d));
  encode_items(policy, {corpus, learnt.data(), data_.item_features()}, vectors.data());
  std::vector<int64_t> offered;  // the items on offer, whose vectors move together
  std::vector<int64_t> place(static_cast<size_t>(corpus), -1);
  for (int64_t i = 0; i < corpus; ++i) {
    if (!data_.available(i)) continue;
    place[static_cast<size_t>(i)] = static_cast<int64_t>(offered.size());
    std::copy_n(vectors.begin() + i * d, d, vectors.begin() + static_cast<int64_t>(offered.size()) * d);
    offered.push_back(i);
  }
  const ExactIndex index({vectors.data(), {static_cast<int64_t>(offered.size()), d}});
  Arena arena;
  Tape<float> tape(arena, /*recording=*/false);
  TopItems top;
  SkipRows skip;
  std::vector<int64_t> rows_of_tile, moments;
  for (int64_t lo = 0; lo < rows(); lo += kTile) {
    const int64_t n = std::min(kTile, rows() - lo);
    tape.reset();
    rows_of_tile.clear(), moments.clear(), skip.clear();
    for (int64_t i = lo; i < lo + n; ++i) {
      const Row& row = rows_[static_cast<size_t>(i)];
      rows_of_tile.push_back(i);
      moments.push_back(0);
      for (int64_t e = row.begin; e < row.end; ++e) {
        moments.back() = std::max(moments.back(), moment(entries_[static_cast<size_t>(e)]));
        const int64_t listed = place[static_cast<size_t>(item(entries_[static_cast<size_t>(e)]))];
        if (listed >= 0) skip.rows.push_back(listed);
      }
      skip.offsets.push_back(static_cast<int64_t>(skip.rows.size()));  // entries are ascending by item
    }
    UserInputs<float> users;
    read_users(rows_of_tile.data(), moments.data(), n, arena, users);
    index.search(policy.users(tape, users).value(), k, top, {.skip = &skip});
    for (int64_t i = 0; i < n; ++i) {
      const auto items = top.items(i);
      std::transform(items.begin(), items.end(), best_.begin() + (lo + i) * k,
                     [&](int64_t at) { return static_cast<int32_t>(offered[static_cast<size_t>(at)]); });
    }
  }
}

}  // namespace tt
