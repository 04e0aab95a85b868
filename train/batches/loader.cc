#include <twotower/tensor/error.h>
#include <twotower/tensor/kernels/embedding/embedding.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/batches/loader.h>
#include <twotower/train/data/positives.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace tt {
namespace {

// Random streams of the loader, one a purpose; the epoch is added in the upper half.
enum Stream : uint64_t { kShuffle = 101, kNegatives, kUserDropout, kItemDropout, kDropout, kHistoryDropout };

Philox stream(const BatchOptions& train, Stream purpose, int64_t epoch) {
  return Philox(static_cast<uint64_t>(train.seed), purpose + (static_cast<uint64_t>(epoch) << 32));
}

constexpr double kFrequencyRate = 0.01;  // an average over about 200 occurrences

// [n, width] factors of 0 with this probability, else 1 / (1 - share). Row i's are the random numbers first + i.
Tensor<float> dropout_factors(const Philox& random, double share, int64_t n, int64_t width, uint64_t first,
                              Arena& arena) {
  const Tensor<float> out = make_tensor<float>(arena, {n, width});
  const auto least = static_cast<uint32_t>(share * 4294967296.0);
  const auto kept = static_cast<float>(1 / (1 - share));
  const auto blocks = static_cast<uint64_t>((width + 3) / 4);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < width; j += 4) {
      const auto four = random.block((first + static_cast<uint64_t>(i)) * blocks + static_cast<uint64_t>(j / 4));
      for (int64_t x = 0; x < std::min<int64_t>(4, width - j); ++x)
        out.row(i)[j + x] = four[static_cast<size_t>(x)] < least ? 0 : kept;
    }
  return out;
}

// All positives of each row's user but the row's own item, which is its target.
Exclusions user_positives(Tensor<const int64_t> users, Tensor<const int64_t> targets, const UserItems& positives,
                          Arena& arena) {
  const int64_t b = users.numel();
  int64_t most = 0;
  for (const int64_t user : users) most += static_cast<int64_t>(positives.of(user).size());
  const Tensor<int64_t> offsets = make_tensor<int64_t>(arena, {b + 1});
  const Tensor<int32_t> columns = make_tensor<int32_t>(arena, {most});
  int32_t* to = columns.data();
  offsets[0] = 0;
  for (int64_t i = 0; i < b; ++i) {
    const auto items = positives.of(users[i]);
    to = std::remove_copy(items.begin(), items.end(), to, static_cast<int32_t>(targets[i]));
    offsets[i + 1] = to - columns.data();
  }
  return {offsets, {columns.data(), {offsets[b]}}};
}

}  // namespace

void gather_histories(const Dataset& data, const ModelConfig& model, const int64_t* user_rows,
                      const int64_t* history_ends, int64_t n, Arena& arena, UserInputs<float>& users) {
  const int64_t capacity = model.user_history_seqlen, kinds = model.history_actions;
  const Tensor<int64_t> offsets = make_tensor<int64_t>(arena, {n + 1});
  offsets[0] = 0;
  for (int64_t i = 0; i < n; ++i)
    offsets[i + 1] = offsets[i] + (user_rows[i] < 0 ? 0 : std::min(history_ends[i], capacity));
  const Tensor<int64_t> items = make_tensor<int64_t>(arena, {offsets[n]});
  const Tensor<uint8_t> actions = make_tensor<uint8_t>(arena, {offsets[n], kinds});
  for (int64_t i = 0; i < n; ++i) {
    const int64_t count = offsets[i + 1] - offsets[i];
    if (count == 0) continue;
    const int64_t newest = data.history_offsets()[user_rows[i]] + history_ends[i] - 1;
    for (int64_t j = 0; j < count; ++j) {
      items[offsets[i] + j] = data.history_items()[newest - j];
      if (kinds > 0)
        std::copy_n(data.history_actions() + (newest - j) * kinds, kinds, actions.data() + (offsets[i] + j) * kinds);
    }
  }
  users.history_offsets = offsets;
  users.history_items = items;
  if (kinds > 0) users.history_actions = actions;
}

Tensor<float> gather_features(const float* features, int64_t width, const int64_t* ids, int64_t n, Arena& arena) {
  if (width == 0) return {};
  const Tensor<float> out = make_tensor<float>(arena, {n, width});
  kernels::gather_rows(features, width, ids, n, out.data(), width);
  return out;
}

Loader::Loader(const Dataset& data, const ModelConfig& model, const BatchOptions& train)
    : data_(data), model_(model), train_(train) {
  // An id is hidden only where something else is known.
  const bool ids_alone = !model.history && model.user_features_size == 0;
  check(train.user_id_dropout < 1 || !ids_alone, "config",
        "train.user_id_dropout = 1 hides all that is known of users; give the model features or a history of them");
  check(train.user_id_dropout < 1 || !model.needs_lists(), "config",
        "train.user_id_dropout = 1 hides users' ids, by which lists know them; set it below 1");
  if (ids_alone) train_.user_id_dropout = 0;
  if (model.item_features_size == 0) train_.item_id_dropout = 0;
  const Impressions& log = data.split(Split::train);
  rows_ = training_rows(data, model, train);
  check(!rows_.empty(), "dataset " + data.dir(),
        "no training impression has a label above 0; there is nothing to learn from");
  if (train.rows == "users") {
    users_ = std::make_unique<UserRows>(data, model, train, rows_);
    rows_ = users_->users();
  }
  if (train.rows == "sequences") find_windows();
  find_visits();
  batches_ = (rows() + train.batch_size - 1) / train.batch_size;
  if (model.full_softmax) {
    all_items_.resize(static_cast<size_t>(data.num_items()));
    std::iota(all_items_.begin(), all_items_.end(), 0);
    if (model.mask_user_positives && !users_) positives_ = data.positives(Split::train);
  }
  if (model.full_softmax) {  // nothing is drawn
  } else if (model.log_q == "counts") {
    share_.assign(static_cast<size_t>(data.num_items()), 0);
    for (const int64_t r : rows_) share_[static_cast<size_t>(log.item[r])] += 1.0 / static_cast<double>(rows());
  } else if (model.log_q == "stream") {
    const int64_t slots = std::clamp<int64_t>(data.num_items(), 1 << 10, 1 << 22);
    estimator_ = std::make_unique<FrequencyEstimator>(slots, kFrequencyRate, static_cast<double>(data.num_items()));
  }
  if (model.negative_queue > 0)
    queue_ = std::make_unique<NegativeQueue>(model.negative_queue, model.item_id_embedding_dim,
                                             std::min(train.batch_size, rows()));
  if (train.prefetch) thread_ = std::thread([this] { prefetch(); });
}

Loader::~Loader() {
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Loader::start_epoch(int64_t epoch) {
  {
    std::unique_lock<std::mutex> hold(mutex_);
    changed_.wait(hold, [&] { return wanted_ < 0; });  // no batch is in the making
  }
  // The estimator knows what a training from the first epoch on would have shown it: a resumed one goes on alike.
  for (; estimator_ && observed_ < epoch; ++observed_) {
    set_order(observed_);
    for (const int64_t r : order_) estimator_->observe(data_.split(Split::train).item[r]);
  }
  observed_ = epoch + 1;
  epoch_ = epoch;
  next_ = 0;
  set_order(epoch);
  if (queue_) queue_->drop_announced();
  for (Slot& slot : slots_) slot.index = -1;
}

// rows = "sequences": a user's rows lie together in the order of their moments, cut into windows. The actions that a
// window's last row knows, so many as the encoder reads, are encoded once for all rows of the window. Windows are
// counted from the end of a sequence, where what is served begins, and follow each other by half of what the encoder
// reads, so that each row knows half of that at least, if there is so much.
void Loader::find_windows() {
  check(
      model_.history && model_.causal, "config",
      "train.rows = \"sequences\" reads a user's moments from one pass of a causal history encoder; set history = true "
      "and causal = true, or rows = \"auto\"");
  check(model_.negative_queue == 0, "config",
        "train.rows = \"sequences\" has no queue of earlier items; set negative_queue = 0");
  const Impressions& log = data_.split(Split::train);
  std::stable_sort(rows_.begin(), rows_.end(), [&](int64_t a, int64_t b) {
    return std::pair(log.user[a], log.history_end[a]) < std::pair(log.user[b], log.history_end[b]);
  });
  last_moment_.assign(static_cast<size_t>(data_.num_users()), 0);
  for (const int64_t r : rows_) last_moment_[static_cast<size_t>(log.user[r])] = log.history_end[r];
}

// Which window of its user's sequence a row is in, 0 the last; without windows the moment of the row.
int64_t Loader::window_of(int64_t row) const {
  const Impressions& log = data_.split(Split::train);
  const int64_t moment = log.history_end[row];
  if (last_moment_.empty()) return moment;
  const int64_t last = last_moment_[static_cast<size_t>(log.user[row])], capacity = model_.user_history_seqlen;
  const int64_t step = (capacity + 1) / 2, full = (std::max<int64_t>(last - capacity, 0) + step - 1) / step;
  return std::min((last - moment) / step, full);  // from the `full`-th window on everything before is in it
}

// Rows that follow each other, of one user with one history (or window of it), are a visit's: they stay together, so
// that the user is encoded once for all of them.
void Loader::find_visits() {
  const Impressions& log = data_.split(Split::train);
  for (int64_t k = 0; k < rows(); ++k) {
    const int64_t r = rows_[static_cast<size_t>(k)], before = k > 0 ? rows_[static_cast<size_t>(k - 1)] : -1;
    if (users_ || before < 0 || log.user[r] != log.user[before] || window_of(r) != window_of(before))
      visits_.push_back(k);
  }
}

void Loader::set_order(int64_t epoch) {
  visit_order_.resize(visits_.size());
  std::iota(visit_order_.begin(), visit_order_.end(), 0);
  stream(train_, kShuffle, epoch).shuffle(visit_order_.data(), static_cast<int64_t>(visit_order_.size()));
  order_.clear();
  for (const int64_t visit : visit_order_) {
    const auto v = static_cast<size_t>(visit);
    const auto end = v + 1 < visits_.size() ? visits_[v + 1] : rows();
    order_.insert(order_.end(), rows_.begin() + visits_[v], rows_.begin() + end);
  }
}

const Batch<float>* Loader::next() {
  if (next_ == batches_) return nullptr;
  const int64_t index = next_++;
  Slot& slot = slots_[index % 2];
  if (!thread_.joinable()) {
    fill(slot, index);
    return &slot.batch;
  }
  std::unique_lock<std::mutex> hold(mutex_);
  if (index == 0) wanted_ = 0, changed_.notify_all();
  changed_.wait(hold, [&] { return wanted_ < 0; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  if (index + 1 < batches_) wanted_ = index + 1, changed_.notify_all();
  return &slot.batch;
}

void Loader::prefetch() {
  const ThreadScope one(1);  // the trainer has the others
  std::unique_lock<std::mutex> hold(mutex_);
  while (true) {
    changed_.wait(hold, [&] { return stop_ || wanted_ >= 0; });
    if (stop_) return;
    const int64_t index = wanted_;
    hold.unlock();
    std::exception_ptr failure;
    try {
      fill(slots_[index % 2], index);
    } catch (...) {
      failure = std::current_exception();
    }
    hold.lock();
    failure_ = failure;
    wanted_ = -1;
    changed_.notify_all();
  }
}

void Loader::fill(Slot& slot, int64_t index) {
  const Impressions& log = data_.split(Split::train);
  Arena& arena = slot.arena;
  arena.reset();
  slot.index = index;
  // Batches of equal size, give or take one row: a small last batch would have few negatives.
  const int64_t begin = index * rows() / batches_, b = (index + 1) * rows() / batches_ - begin;
  const int64_t tasks = data_.num_tasks();
  const int64_t* rows = order_.data() + begin;
  if (users_) {
    fill_users(slot.batch, rows, b, arena);
    slot.batch.user.id = drop(slot.batch.user.id, train_.user_id_dropout, kUserDropout, begin, arena);
    add_dropout(slot.batch.user, begin, arena);
    return;
  }

  const Tensor<int64_t> users = make_tensor<int64_t>(arena, {b}), items = make_tensor<int64_t>(arena, {b});
  // Of the users, each once: id and how many actions came before; of their moments, each once, whose it is and how many
  // came before that; and of each row, which of them.
  const Tensor<int64_t> distinct = make_tensor<int64_t>(arena, {b}), history_ends = make_tensor<int64_t>(arena, {b});
  const Tensor<int64_t> moment_user = make_tensor<int64_t>(arena, {b}), moment_ends = make_tensor<int64_t>(arena, {b});
  const Tensor<int64_t> user_of = make_tensor<int64_t>(arena, {b});
  int64_t n = 0, moments = 0, window = 0;
  const Tensor<int32_t> positions = make_tensor<int32_t>(arena, {b});
  const Tensor<float> labels = make_tensor<float>(arena, {b, tasks});
  const Tensor<float> scores = log.ranker_scores ? make_tensor<float>(arena, {b, tasks}) : Tensor<float>();
  constexpr int64_t kAhead = 16;  // a shuffled row is a memory access in every column
  for (int64_t i = 0; i < b; ++i) {
    if (i + kAhead < b) {
      const int64_t r = rows[i + kAhead];
      __builtin_prefetch(log.user + r), __builtin_prefetch(log.item + r), __builtin_prefetch(log.position + r);
      __builtin_prefetch(log.history_end + r), __builtin_prefetch(log.labels + r * tasks);
    }
    const int64_t r = rows[i];
    users[i] = log.user[r], items[i] = log.item[r];
    const int64_t row_window = window_of(r);
    const bool met = n > 0 && distinct[n - 1] == users[i] && window == row_window;
    if (!met) distinct[n++] = users[i], window = row_window;
    if (!met || moment_ends[moments - 1] != log.history_end[r])
      moment_user[moments] = n - 1, moment_ends[moments++] = log.history_end[r];
    history_ends[n - 1] = log.history_end[r];  // moments go forward in a window
    user_of[i] = moments - 1;
    positions[i] = log.position[r];
    std::copy_n(log.labels + r * tasks, tasks, labels.row(i));
    if (scores) std::copy_n(log.ranker_scores + r * tasks, tasks, scores.row(i));
  }

  Batch<float>& batch = slot.batch;
  batch = {};
  batch.position = positions, batch.labels = labels, batch.ranker_scores = scores;
  batch.user.features = gather_features(data_.user_features(), data_.user_features_size(), distinct.data(), n, arena);
  batch.item.features = gather_features(data_.item_features(), data_.item_features_size(), items.data(), b, arena);
  if (model_.history) gather_histories(data_, model_, distinct.data(), history_ends.data(), n, arena, batch.user);
  if (!last_moment_.empty()) {
    for (int64_t m = 0; m < moments; ++m) {  // from how many actions are known to the row of the last of them
      const int64_t u = moment_user[m], newer = history_ends[u] - moment_ends[m];
      moment_ends[m] = moment_ends[m] == 0 ? -1 : batch.user.history_offsets[u] + newer;
    }
    batch.user.moment_user = {moment_user.data(), {moments}}, batch.user.moment_row = {moment_ends.data(), {moments}};
  }
  if (moments < b) batch.user_of = user_of;
  batch.item.id = items;
  add_negatives(batch, users, index, arena);
  add_log_q(batch, items.data(), arena);
  if (queue_) queue_->announce(items.data(), b);

  batch.user.id = drop({distinct.data(), {n}}, train_.user_id_dropout, kUserDropout, begin, arena);
  batch.item.id = drop(items, train_.item_id_dropout, kItemDropout, begin, arena);
  add_dropout(batch.user, begin, arena);
}

void Loader::fill_users(Batch<float>& batch, const int64_t* users, int64_t n, Arena& arena) {
  batch = {};
  users_->fill(batch, users, n, arena);
  batch.user.id = {users, {n}};
  batch.user.features = gather_features(data_.user_features(), data_.user_features_size(), users, n, arena);
  batch.negatives.id = {all_items_.data(), {data_.num_items()}};
  batch.negatives.features = {data_.item_features(), {data_.num_items(), data_.item_features_size()}};
}

void Loader::add_dropout(UserInputs<float>& users, int64_t begin, Arena& arena) {
  if (train_.dropout <= 0) return;
  users.id_dropout = dropout_factors(stream(train_, kDropout, epoch_), train_.dropout, users.id.numel(),
                                     model_.user_id_embedding_dim, static_cast<uint64_t>(begin), arena);
  if (!model_.history) return;
  // A row may have as many numbers as a history has items, so those before it have had at most so many.
  users.history_dropout =
      dropout_factors(stream(train_, kHistoryDropout, epoch_), train_.dropout, users.history_items.numel(),
                      model_.item_id_embedding_dim, static_cast<uint64_t>(begin * model_.user_history_seqlen), arena);
}

// Ids of the rows from `begin` on, of which so large a share is hidden.
Tensor<const int64_t> Loader::drop(Tensor<const int64_t> ids, double share, uint64_t purpose, int64_t begin,
                                   Arena& arena) {
  if (share <= 0) return ids;
  const Tensor<int64_t> kept = make_tensor<int64_t>(arena, ids.shape());
  const Philox random = stream(train_, static_cast<Stream>(purpose), epoch_);
  for (int64_t i = 0; i < ids.numel(); ++i)
    kept[i] = random.uniform(static_cast<uint64_t>(begin + i)) < share ? -1 : ids[i];
  return kept;
}

void Loader::add_negatives(Batch<float>& batch, Tensor<const int64_t> users, int64_t index, Arena& arena) {
  const int64_t corpus = data_.num_items(), width = data_.item_features_size();
  if (model_.full_softmax) {
    batch.negatives.id = {all_items_.data(), {corpus}};
    batch.negatives.features = {data_.item_features(), {corpus, width}};
    batch.candidates.target = batch.item.id;
    if (model_.mask_user_positives) batch.candidates.exclude = user_positives(users, batch.item.id, positives_, arena);
    return;
  }
  if (queue_) batch.queue.id = queue_->ids(arena);
  const int64_t mixed = model_.mixed_negatives, queued = batch.queue.id.numel();
  const Tensor<int64_t> further = make_tensor<int64_t>(arena, {mixed + queued});
  const Philox random = stream(train_, kNegatives, epoch_);
  for (int64_t i = 0; i < mixed; ++i)
    further[i] =
        static_cast<int64_t>(random.below(static_cast<uint64_t>(index * mixed + i), static_cast<uint64_t>(corpus)));
  std::copy(batch.queue.id.begin(), batch.queue.id.end(), further.data() + mixed);
  batch.negatives.id = {further.data(), {mixed}};
  batch.negatives.features = gather_features(data_.item_features(), width, further.data(), mixed, arena);
  if (model_.mask_accidental_hits)
    batch.candidates.exclude = accidental_hits(users, batch.item.id, acted_on(batch.labels, arena), further, arena);
}

// log Q of each column: how often its item is expected among a row's negatives, which come from the log (the batch's
// other rows, the queue) and from uniform draws. sampling.h has the reasons.
void Loader::add_log_q(Batch<float>& batch, const int64_t* items, Arena& arena) {
  const int64_t b = batch.item.id.numel(), mixed = batch.negatives.id.numel(), queued = batch.queue.id.numel();
  if (estimator_) estimator_->observe(items, b);
  if (model_.log_q != "none" && !model_.full_softmax) {
    const Tensor<float> log_q = make_tensor<float>(arena, {b + mixed + queued});
    const auto logged = static_cast<double>(b - 1 + queued), uniform = static_cast<double>(mixed);
    for (int64_t j = 0; j < log_q.numel(); ++j) {
      const int64_t item = j < b ? items[j] : j < b + mixed ? batch.negatives.id[j - b] : batch.queue.id[j - b - mixed];
      const double p = estimator_ ? estimator_->probability(item) : share_[static_cast<size_t>(item)];
      log_q[j] = static_cast<float>(log_expected_count(logged, p, uniform, static_cast<double>(data_.num_items())));
    }
    batch.candidates.log_q = log_q;
    batch.candidates.positive_uncorrected = !model_.log_q_correct_positive;
  }
  batch.candidates.hard_negatives = model_.hard_negatives;
}

}  // namespace tt
