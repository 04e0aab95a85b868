#include <twotower/train/batches/loader.h>
#include <twotower/train/evaluate/doctor/doctor.h>
#include <twotower/train/evaluate/doctor/ranker_check.h>
#include <twotower/train/evaluate/text_table.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace tt {
namespace {

constexpr int64_t kSample = 1000;  // users, and items, that are looked at

struct Vectors {
  int64_t rows, d;
  const float* data;
  const float* row(int64_t i) const { return data + i * d; }
  double dot(int64_t i, const float* other) const { return std::inner_product(row(i), row(i) + d, other, 0.0); }
};

std::string spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  std::string text;
  for (const double p : {0.01, 0.5, 0.99})
    text += (text.empty() ? "" : ", ") + std::to_string(static_cast<int>(p * 100)) + " % below " +
            decimals(percentile(values, p), 3);
  return text;
}

// The mean cosine of two different rows: |sum of unit vectors|^2 less the n cosines of rows with themselves.
double mean_cosine(const Vectors& v) {
  std::vector<double> sum(static_cast<size_t>(v.d), 0);
  double n = 0;
  for (int64_t i = 0; i < v.rows; ++i) {
    const double norm = std::sqrt(v.dot(i, v.row(i)));
    if (!(norm > 0)) continue;
    for (int64_t j = 0; j < v.d; ++j) sum[static_cast<size_t>(j)] += v.row(i)[j] / norm;
    n += 1;
  }
  const double square = std::inner_product(sum.begin(), sum.end(), sum.begin(), 0.0);
  return n > 1 ? (square - n) / (n * (n - 1)) : 0;
}

// How many of these rows have the very numbers of another of them.
int64_t duplicates(const Vectors& v, std::vector<int64_t> order) {
  const auto bytes = static_cast<size_t>(v.d) * sizeof(float);
  const auto compare = [&](int64_t a, int64_t b) { return std::memcmp(v.row(a), v.row(b), bytes); };
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return compare(a, b) < 0; });
  int64_t count = 0;
  for (size_t i = 1; i < order.size(); ++i) count += compare(order[i - 1], order[i]) == 0;
  return count;
}

void look_at_side(const char* side, const Vectors& v, std::vector<Finding>& out) {
  std::vector<double> norms;
  for (int64_t i = 0; i < v.rows; ++i) norms.push_back(std::sqrt(v.dot(i, v.row(i))));
  const bool finite = std::all_of(norms.begin(), norms.end(), [](double x) { return std::isfinite(x); });
  out.push_back({std::string("length of ") + side + " vectors", finite ? spread(norms) : "some are not finite", finite,
                 finite ? "" : "a lower learning rate, or clip_norm = 1"});
  if (!finite) return;
  const double cosine = mean_cosine(v);
  const bool collapsed = cosine > 0.9;
  out.push_back(
      {std::string("spread of ") + side + " vectors",
       "mean cosine of two of them " + decimals(cosine, 3) + (collapsed ? ": they all point the same way" : ""),
       !collapsed,
       collapsed ? "more negatives (a larger batch_size, mixed_negatives), a lower learning rate, "
                   "or normalize = true with a temperature near 0.1"
                 : ""});
}

// How unevenly the log offers items as negatives, and whether training makes up for it.
void look_at_log_q(const ModelConfig& config, const Dataset& data, std::vector<Finding>& out) {
  const int64_t* counts = learns_from_all_rows(config) ? data.train_counts() : data.train_positives();
  std::vector<double> log_q;
  double total = 0;
  for (int64_t i = 0; i < data.num_items(); ++i) total += static_cast<double>(counts[i]);
  for (int64_t i = 0; i < data.num_items(); ++i)
    if (counts[i] > 0) log_q.push_back(std::log(static_cast<double>(counts[i]) / total));
  if (log_q.empty()) return;
  const auto [least, most] = std::minmax_element(log_q.begin(), log_q.end());
  const double times = std::exp(*most - *least);
  std::string found = decimals(*least, 2) + " to " + decimals(*most, 2) + ", " + spread(log_q) +
                      ": the most popular item is a negative " + decimals(times, 0) + " times as often as the rarest";
  std::string advice;
  if (config.full_softmax) {
    found += "; full_softmax has every item as a negative, which needs no correction";
  } else if (config.log_q == "none") {
    found += "; log_q = \"none\" does not correct for it";
    if (times > 10) advice = "log_q = \"stream\": popular items are pushed down for being popular";
  } else if (config.mask_accidental_hits && config.log_q_correct_positive) {
    found += "; the positive is corrected although the other columns of its item are masked";
    advice = "log_q_correct_positive = false, so that training converges to the full softmax";
  } else {
    found += "; log_q = \"" + config.log_q + "\" corrects for it";
  }
  out.push_back({"log Q, the log of an item's share of the training rows", found, advice.empty(), advice});
}

std::string percent(double share) { return decimals(100 * share, 1) + " %"; }

// What two calibrations differ by, as the log of their ratios' ratio; whether by much, and by more than chance.
struct Difference {
  Difference(const Calibration& a, const Calibration& b)
      : log_ratio(std::log(a.ratio() / b.ratio())), error(std::hypot(a.log_error(), b.log_error())) {}
  double log_ratio, error;
  bool matters(double tolerated) const { return std::abs(log_ratio) > std::max(3 * error, std::log(tolerated)); }
};

std::string ratios(const std::array<Calibration, 5>& fifths) {
  std::string text;
  for (const Calibration& c : fifths) text += (text.empty() ? "" : ", ") + decimals(c.ratio(), 2);
  return text;
}

std::string distil_less(const std::string& why) {
  return "distil less: lower model.kd_weight, model.alignment_weight or model.distill_towers_weight, and set "
         "model.ranker_serves = \"labels\"" +
         why;
}

// Whether the log's own ranker is one to learn from: how high its scores are.
void look_at_calibration(const RankerCalibration& c, std::vector<Finding>& out) {
  const auto tells = [](const Calibration& part) { return part.given > 0 && part.promised > 0; };
  const auto all_tell = [&](const auto& fifths) { return std::all_of(fifths.begin(), fifths.end(), tells); };
  if (!tells(c.all) || !all_tell(c.by_popularity) || !all_tell(c.by_score)) return;  // too few actions
  const double log_ratio = std::log(c.all.ratio());
  const bool off = std::abs(log_ratio) > std::log(2.0);
  out.push_back({"main ranker: what its scores promise over what users gave", decimals(c.all.ratio(), 2), !off,
                 off ? "scores on the scale of the labels: " + decimals(-log_ratio, 2) +
                           " added to their logits is a beginning; until then trust their order, not their size"
                     : ""});

  const Difference popular(c.by_popularity[4], c.by_popularity[0]);
  const bool partial = popular.matters(1.25), to_popular = popular.log_ratio > 0;
  std::string found = ratios(c.by_popularity) + " for a fifth of the impressions each, the rarest items first";
  if (partial)
    found += std::string(": it over-rates ") + (to_popular ? "popular" : "rare") + " items by " +
             percent(std::exp(std::abs(popular.log_ratio)) - 1) + " against " + (to_popular ? "rare" : "popular") +
             " ones";
  out.push_back(
      {"main ranker: the same by how popular items are", found, !partial,
       partial
           ? distil_less(
                 ", so that the labels have their say; or correct the scores by popularity before they are imported")
           : ""});

  // A log shows what another view of the same users chose, which is better than it scores here where it scores low.
  const Difference sure(c.by_score[4], c.by_score[0]);
  const bool too_sure = sure.matters(1.4) && sure.log_ratio > 0;
  out.push_back(
      {"main ranker: the same by how high it scores",
       ratios(c.by_score) + " for a fifth of the impressions each, the lowest scores first" +
           (too_sure ? ": its scores differ more than what users do, as noisy or too confident ones would" : ""),
       !too_sure, too_sure ? distil_less(": part of a high score is chance") : ""});
}

// And in what order they put what users were shown.
void look_at_order(const PairAgreement& pairs, Split split, std::vector<Finding>& out) {
  if (pairs.users == 0) return;
  const bool held_out = split != Split::train;  // which the model knows by heart
  const bool worse = held_out && pairs.model - pairs.ranker > 2 * pairs.difference_error;
  const bool chance = pairs.ranker < 0.5 + 2 * pairs.ranker_error;
  const auto share = [](double value, double error) {
    return percent(value) + " of pairs (± " + decimals(100 * error, 1) + ")";
  };
  out.push_back(
      {"main ranker: its order of what users were shown",
       "agrees with what they did in " + share(pairs.ranker, pairs.ranker_error) + ", the model's in " +
           share(pairs.model, pairs.model_error) + (chance ? ": it is no better than chance" : ""),
       !worse && !chance,
       worse || chance ? distil_less(": users follow the ranker's order less than it would teach the model") : ""});
}

}  // namespace

std::vector<Finding> examine(const ServedDataset& served, const EvaluationResult& result,
                             const EvaluateOptions& options) {
  std::vector<Finding> out;
  const Dataset& data = served.data();
  const Tensor<const float> items = served.item_vectors();
  const int64_t d = items.cols();
  const Vectors v{items.rows(), d, items.data()};

  std::vector<UserMoment> users;
  const auto all = static_cast<int64_t>(result.user_rows.size());
  for (int64_t i = 0, n = std::min(all, kSample); i < n; ++i)
    users.push_back(latest_moment(data, result.user_rows[static_cast<size_t>(i * all / n)]));
  std::vector<float> encoded(users.size() * static_cast<size_t>(d));
  Session session;
  served.encode(session, users, encoded.data());
  const Vectors u{static_cast<int64_t>(users.size()), d, encoded.data()};

  look_at_side("user", u, out);
  look_at_side("item", v, out);

  std::vector<double> scores;
  const auto tau = static_cast<double>(served.model().temperature());
  const int64_t step = std::max<int64_t>(1, v.rows / 200);
  for (int64_t i = 0; i < u.rows; i += std::max<int64_t>(1, u.rows / 200))
    for (int64_t j = 0; j < v.rows; j += step) scores.push_back(v.dot(j, u.row(i)) / tau);
  out.push_back({"scores u.v / temperature of any user and item", spread(scores), true, ""});

  look_at_log_q(served.model().config(), data, out);
  if (options.truth && data.has_ranker_scores()) {
    const ExaminationCurve examination = estimate_examination(data);
    look_at_calibration(calibrate_ranker(data, examination), out);
    look_at_order(pair_agreement(served, options.split, options.ask(), examination), options.split, out);
  }

  std::vector<int64_t> warm, cold;
  for (int64_t i = 0; i < v.rows; ++i) (data.train_positives()[i] > 0 ? warm : cold).push_back(i);
  const auto of = [](int64_t count, const std::vector<int64_t>& rows) {
    return std::to_string(count) + " of " + std::to_string(rows.size());
  };
  const int64_t same = duplicates(v, warm);
  const bool many = same * 100 > static_cast<int64_t>(warm.size());
  out.push_back({"items with the very vector of another", of(same, warm) + " that have a training positive", !many,
                 many ? "features that tell items apart, or an id row for each (item_id_hash_size)" : ""});

  const int64_t alike = duplicates(v, cold);
  const bool mostly_cold = static_cast<int64_t>(cold.size()) * 4 > v.rows;
  const bool blind = alike * 2 > static_cast<int64_t>(cold.size());
  out.push_back({"items without a training positive",
                 std::to_string(cold.size()) + " of " + std::to_string(v.rows) + "; " + of(alike, cold) +
                     " of these have the very vector of another",
                 !mostly_cold && !blind,
                 blind ? "item features that tell them apart: items that training never met live on them alone"
                 : mostly_cold
                     ? "see that item features are good: such items live on them alone; try item_id_dropout = 0.1"
                     : ""});

  const int64_t k = *std::max_element(options.ks.begin(), options.ks.end());
  const std::string at = "@" + std::to_string(k);
  const Measures& m = result.measures;
  if (m.has("lift" + at)) {
    const double lift = m["lift" + at];
    const bool high = lift > 1.5, low = lift < 0.05;
    out.push_back({"popularity lift" + at, decimals(lift, 3) + " (1: as popular as what users act on)", !high && !low,
                   high  ? "fewer epochs, mixed_negatives, or log_q = \"counts\": popular items are over-served"
                   : low ? "check log_q: the correction may be too strong; try log_q = \"none\" or "
                           "log_q_correct_positive = false"
                         : ""});
  }
  if (m.has("coverage" + at)) {
    const double coverage = m["coverage" + at];
    const double most = std::min(1.0, static_cast<double>(k * result.users) / static_cast<double>(v.rows));
    const bool narrow = coverage < 0.1 * most;
    out.push_back({"coverage" + at,
                   decimals(100 * coverage, 1) + " % of the corpus is returned to someone (at most " +
                       decimals(100 * most, 1) + " % can be)",
                   !narrow,
                   narrow ? "log_q = \"counts\", or a larger model: nearly everyone gets the same items" : ""});
  }
  for (const auto& [name, baseline] : result.baselines)
    if (name == "popularity" && baseline.has("recall" + at)) {
      const double ours = m["recall" + at], theirs = baseline["recall" + at];
      out.push_back({"recall" + at + " over the popularity baseline", decimals(ours) + " against " + decimals(theirs),
                     ours > theirs,
                     ours > theirs ? ""
                                   : "more epochs, a higher learning rate, or full_softmax = true on a corpus this "
                                     "size; a model below popularity has not learned yet"});
    }
  return out;
}

}  // namespace tt
