#include <twotower/tensor/error.h>
#include <twotower/tensor/random.h>
#include <twotower/tensor/text.h>
#include <twotower/train/data/positives.h>
#include <twotower/train/import/split.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

namespace tt {

namespace {

constexpr double kHoldOut = 0.1;  // of the training part of time and random splits
constexpr uint64_t kSplitStream = 0x5b17;

enum Part : uint8_t { kTrain, kValid, kTest };

InteractionColumns take(const InteractionColumns& log, const std::vector<uint8_t>& parts, Part part, size_t tasks) {
  std::vector<int64_t> rows;
  for (size_t i = 0; i < parts.size(); ++i)
    if (parts[i] == part) rows.push_back(static_cast<int64_t>(i));
  return select_rows(log, rows, static_cast<int64_t>(tasks));
}

std::vector<uint8_t> by_time(const InteractionColumns& log, const SplitRule& rule, const std::string& source) {
  std::vector<double> times = log.time;
  std::sort(times.begin(), times.end());
  check(times.front() < times.back(), "import " + source,
        "has the same time in every row, so it cannot be split by time; use --split random:0.8");
  std::vector<size_t> starts;  // where a new time begins, the first one apart: the cuts there can be
  for (size_t i = 1; i < times.size(); ++i)
    if (times[i - 1] < times[i]) starts.push_back(i);
  // The last cut within a share of the log, as rows of one time stay together in the later part; but `least` or a later
  // one, so that the parts before it have rows.
  const auto cut = [&](double share, size_t least) {
    const auto wanted = static_cast<size_t>(share * static_cast<double>(times.size()));
    const auto after = std::upper_bound(starts.begin(), starts.end(), wanted) - starts.begin();
    return std::max(static_cast<size_t>(after), least + 1) - 1;
  };
  const bool validates = rule.hold_out > 0 && starts.size() > 1;
  const size_t test = cut(rule.fraction, validates ? 1 : 0);
  const size_t valid = validates ? std::min(cut(rule.fraction * (1 - rule.hold_out), 0), test - 1) : test;
  const double test_time = times[starts[test]], valid_time = times[starts[valid]];
  std::vector<uint8_t> parts(log.time.size());
  for (size_t i = 0; i < parts.size(); ++i)
    parts[i] = log.time[i] >= test_time ? kTest : log.time[i] >= valid_time ? kValid : kTrain;
  return parts;
}

// The first `train` rows of a random order are train, up to `valid` valid.
std::vector<uint8_t> at_random(size_t n, double train, double valid, uint64_t seed) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t{0});
  Philox(seed, kSplitStream).shuffle(order.data(), static_cast<int64_t>(n));
  std::vector<uint8_t> parts(n);
  for (size_t rank = 0; rank < n; ++rank) {
    const double share = (static_cast<double>(rank) + 0.5) / static_cast<double>(n);
    parts[static_cast<size_t>(order[rank])] = share < train ? kTrain : share < valid ? kValid : kTest;
  }
  return parts;
}

std::vector<uint8_t> last_out(const InteractionColumns& log, const SplitRule& rule, size_t tasks) {
  std::vector<size_t> order(log.user.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return log.user[a] != log.user[b] ? log.user[a] < log.user[b] : log.time[a] < log.time[b];
  });
  std::vector<uint8_t> parts(order.size(), kTrain);
  for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    std::vector<size_t> actions;  // places in `order`
    for (end = begin; end < order.size() && log.user[order[end]] == log.user[order[begin]]; ++end) {
      if (acted_on(log.labels.data() + order[end] * tasks, static_cast<int64_t>(tasks))) actions.push_back(end);
    }
    if (actions.size() < 3) continue;
    const size_t first = rule.hold_out > 0 ? actions[actions.size() - 2] : actions.back();
    for (size_t k = first; k < end; ++k) parts[order[k]] = k >= actions.back() ? kTest : kValid;
  }
  return parts;
}

std::string percent(double share) {
  std::ostringstream text;
  text << share * 100 << "%";
  return text.str();
}

}  // namespace

SplitRule parse_split(const std::string& text, std::optional<double> hold_out) {
  check(!hold_out || (*hold_out >= 0 && *hold_out < 1), "import", "--hold-out is ", hold_out.value_or(0),
        ", outside [0, 1)");
  constexpr const char* choices = "; choose given, time:0.8, random:0.8 or leave-last-out";
  if (text == "given") return {SplitRule::Kind::given, 0, hold_out.value_or(0)};
  if (text == "leave-last-out") {
    check(!hold_out || *hold_out == 0, "import", "--hold-out is ", hold_out.value_or(0),
          "; leave-last-out validates on the action before the last, or with --hold-out 0 on nothing");
    return {SplitRule::Kind::leave_last_out, 0, hold_out ? 0.0 : 1.0};
  }
  const std::size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  check(kind == "time" || kind == "random", "split " + text, "is not a known split", choices);
  SplitRule rule{kind == "time" ? SplitRule::Kind::time : SplitRule::Kind::random, 0.8, hold_out.value_or(kHoldOut)};
  if (colon == std::string::npos) return rule;
  const bool good = parse_number(text.substr(colon + 1), rule.fraction) && rule.fraction > 0 && rule.fraction < 1;
  check(good, "split " + text, "needs a share between 0 and 1 for training", choices);
  return rule;
}

std::string split_protocol(const SplitRule& rule) {
  std::ostringstream text;
  switch (rule.kind) {
    case SplitRule::Kind::given:
      text << "split as given by the files";
      if (rule.hold_out > 0) text << "; " << percent(rule.hold_out) << " of train, at random, is valid";
      break;
    case SplitRule::Kind::time:
      text << "by time: the first " << percent(rule.fraction) << " of the log is for training"
           << (rule.hold_out > 0 ? " (its last " + percent(rule.hold_out) + " is valid)" : "") << ", the rest is test";
      break;
    case SplitRule::Kind::random:
      text << "at random: " << percent(rule.fraction) << " of the log is for training"
           << (rule.hold_out > 0 ? " (" + percent(rule.hold_out) + " of it is valid)" : "") << ", the rest is test";
      break;
    case SplitRule::Kind::leave_last_out:
      text << "leave-last-out: a user's last action is test, "
           << (rule.hold_out > 0 ? "the one before it valid" : "the others train");
  }
  return text.str();
}

void split_log(DatasetContent& content, const SplitRule& rule, bool has_time, uint64_t seed,
               const std::string& source) {
  InteractionColumns log = std::move(content.train);
  content.train = {};
  check(log.size() > 0, "import " + source, "holds no interactions; an empty dataset cannot train anything");
  check(has_time || rule.kind != SplitRule::Kind::time, "import " + source,
        "has no times, so it cannot be split by time; name the column with --columns time=NAME, or use "
        "--split random:0.8");
  const size_t tasks = content.tasks.size();
  if (!has_time) {
    log.time.resize(log.user.size());
    std::iota(log.time.begin(), log.time.end(), 0.0);
  }
  std::vector<uint8_t> parts;
  switch (rule.kind) {
    case SplitRule::Kind::given:
      parts = at_random(log.user.size(), 1 - rule.hold_out, 1, seed);
      break;
    case SplitRule::Kind::time:
      parts = by_time(log, rule, source);
      break;
    case SplitRule::Kind::random:
      parts = at_random(log.user.size(), rule.fraction * (1 - rule.hold_out), rule.fraction, seed);
      break;
    case SplitRule::Kind::leave_last_out:
      parts = last_out(log, rule, tasks);
  }
  content.train = take(log, parts, kTrain, tasks);
  if (rule.hold_out > 0) content.valid = take(log, parts, kValid, tasks);
  if (rule.kind != SplitRule::Kind::given) content.test = take(log, parts, kTest, tasks);
  // Where nothing tells the order, what is to be predicted comes after all that is known.
  if (!has_time && rule.kind != SplitRule::Kind::leave_last_out) {
    const double end = static_cast<double>(log.size());
    content.valid.time.assign(content.valid.user.size(), end);
    content.test.time.assign(content.test.user.size(), end + 1);
  }
  content.protocol = split_protocol(rule);
  check(content.train.size() > 0, "import " + source, "leaves no row to train on with this split; use a larger share");
}

}  // namespace tt
