// What a caller can hand to an op that it must not use: indices, offsets and lengths. Unchecked, each of these read or
// wrote outside its array.

#include <doctest/doctest.h>
#include <twotower/autograd/ops/losses/alignment_losses.h>
#include <twotower/autograd/ops/losses/cross_entropy.h>
#include <twotower/autograd/ops/losses/list_losses.h>
#include <twotower/autograd/ops/losses/lists.h>
#include <twotower/autograd/ops/rows/embedding.h>
#include <twotower/autograd/ops/sequences/attention.h>
#include <twotower/autograd/ops/sequences/segments.h>

#include <cmath>
#include <functional>
#include <limits>

#include "tests/error_of.h"

using namespace tt;

namespace {

template <class T>
Tensor<const T> view(const std::vector<T>& x) {
  static const T none{};
  return {x.empty() ? &none : x.data(), {static_cast<int64_t>(x.size())}};
}

struct Fixture {
  Pool pool;
  Arena arena;
  Tape<double> tape{arena};
  Variable<double> zeros(const Shape& shape) { return tape.variable(make_tensor<double>(pool, shape)); }
  Variable<double> ones(const Shape& shape) {
    const Tensor<double> x = make_tensor<double>(pool, shape);
    x.fill(1);
    return tape.variable(x);
  }
};

}  // namespace

TEST_CASE("offsets must begin at 0, never fall and end at the input's rows, in every op that takes them") {
  Fixture f;
  using Offsets = Tensor<const int64_t>;
  const Variable<double> x = f.zeros({4, 2}), two = f.zeros({2, 2});
  const Tensor<double> encoding = make_tensor<double>(f.pool, {4, 2});
  const Variable<double> scores = f.zeros({4});
  const Tensor<const double> four = scores.value();
  const std::vector<int32_t> columns = {0, 1, 2, 3};
  struct Taker {
    std::string name;
    std::function<void(Offsets)> call;
  };
  const std::vector<Taker> takers = {
      {"segment_mean", [&](Offsets o) { segment_mean(x, o); }},
      {"segment_first", [&](Offsets o) { segment_first(x, o); }},
      {"add_positional", [&](Offsets o) { add_positional<double>(x, o, encoding); }},
      {"multihead_attention",
       [&](Offsets o) {
         multihead_attention(x, f.zeros({6, 2}), f.zeros({6}), two, f.zeros({2}), o, 1);
       }},
      {"attention_reference",
       [&](Offsets o) {
         attention_reference(f.zeros({4, 6}), o, 1);
       }},
      {"newest_attention",
       [&](Offsets o) {
         newest_attention(two, x, f.zeros({6, 2}), f.zeros({6}), o, 1);
       }},
      {"list_scores",
       [&](Offsets o) {
         list_scores(two, x, {o, view(columns)});
       }},
      {"list_squared_error", [&](Offsets o) { list_squared_error(scores, o, four, {}); }},
      {"list_margin", [&](Offsets o) { list_margin(scores, o, four, {}); }},
      {"list_kl", [&](Offsets o) { list_kl(scores, o, four, {}); }},
      {"list_reward", [&](Offsets o) { list_reward(scores, o, four, four, {}, 0.1); }},
      {"list_dpo", [&](Offsets o) { list_dpo(scores, o, four, four, 0.1, 1); }},
      {"zero_if_empty", [&](Offsets o) { zero_if_empty(two, o); }},
  };
  for (const Taker& taker : takers) {
    const auto said = [&](const std::vector<int64_t>& offsets) { return error_of([&] { taker.call(view(offsets)); }); };
    const std::string op = "[" + taker.name + "] ";
    CHECK(said({0, 2, 4}) == "");
    CHECK(said({}) == op + "there are no offsets; give one more than there are sequences");
    CHECK(said({1, 2, 4}) == op + "the offsets begin at 1; they must begin at 0");
    CHECK(said({0, 5, 4}) == op + "offset 2 is 4, less than 5 before it");
    CHECK(said({0, -1, 4}) == op + "offset 1 is -1, less than 0 before it");
    if (taker.name == "zero_if_empty") continue;  // its rows are the sequences
    CHECK(said({0, 2, 3}) == op + "the offsets end at 3, the input has 4 rows");
    CHECK(said({0, 2, 5}) == op + "the offsets end at 5, the input has 4 rows");
  }
  const std::vector<int64_t> three = {0, 1, 2, 4};
  CHECK(error_of([&] { zero_if_empty(two, view(three)); }) == "[zero_if_empty] 2 rows for 3 sequences");
  CHECK(error_of([&] {
          newest_attention(two, x, f.zeros({6, 2}), f.zeros({6}), view(three), 1);
        }) == "[newest_attention] queries [2, 2] for 3 sequences of width 2");
}

TEST_CASE("targets, ids and their counts are checked") {
  Fixture f;
  const Variable<double> scores = f.zeros({2, 3});
  const auto cross = [&](const std::vector<int64_t>& t) { return error_of([&] { cross_entropy(scores, view(t)); }); };
  CHECK(cross({0, 2}) == "");
  CHECK(cross({0, 3}) == "[cross_entropy] target 3 in row 1; the columns are 0 to 2");
  CHECK(cross({-1, 2}) == "[cross_entropy] target -1 in row 0; the columns are 0 to 2");
  CHECK(cross({0}) == "[cross_entropy] 1 targets for 2 rows");
  CHECK(cross({0, 1, 2}) == "[cross_entropy] 3 targets for 2 rows");
  const std::vector<int64_t> ids = {0, -2};
  CHECK(error_of([&] { embedding(scores, view(ids)); }) ==
        "[embedding] id -2 at position 1; the table has rows 0 to 1 (-1 means none)");
  const std::vector<double> targets = {1, 0, 1};
  CHECK(error_of([&] { bce_with_logits(scores, view(targets)); }) ==
        "[bce_with_logits] logits [2, 3] and targets [3] must have the same, non-zero size");
}

TEST_CASE("candidates of in-batch losses: every index and length is checked") {
  Fixture f;
  const Variable<double> u = f.zeros({2, 4}), v = f.zeros({3, 4}), dots = f.zeros({2, 3}), one = f.ones({1}),
                         weight = f.ones({2});
  // Both ops that take them must say the same.
  const auto said = [&](const std::function<void(Candidates<double>&)>& set) {
    Candidates<double> c;
    set(c);
    std::string a = error_of([&] { in_batch_softmax(u, v, one, weight, c); });
    const std::string b = error_of([&] { candidate_scores(dots, one, c); });
    const std::string name_a = "[in_batch_softmax] ", name_b = "[candidate_scores] ";
    if (a.empty() && b.empty()) return a;
    CHECK(a.substr(0, name_a.size()) == name_a);
    CHECK(b == name_b + a.substr(name_a.size()));
    return a.substr(name_a.size());
  };
  using Indices = std::vector<int64_t>;
  using Columns = std::vector<int32_t>;
  const auto target = [&](const Indices& t) { return said([&](Candidates<double>& c) { c.target = view(t); }); };
  CHECK(target({0, 2}) == "");
  CHECK(target({0, 3}) == "target 3 in row 1; the columns are 0 to 2");
  CHECK(target({-1, 2}) == "target -1 in row 0; the columns are 0 to 2");
  CHECK(target({0}) == "1 targets for 2 rows");
  CHECK(target({0, 1, 2}) == "3 targets for 2 rows");

  const std::vector<double> two_numbers = {0, 0}, three_numbers = {0, 0, 0};
  CHECK(said([&](Candidates<double>& c) { c.log_q = view(three_numbers); }) == "");
  CHECK(said([&](Candidates<double>& c) { c.log_q = view(two_numbers); }) == "log Q has 2 entries for 3 columns");

  for (const bool positives : {false, true}) {
    const std::string what = positives ? "positives" : "exclusions";
    INFO(what);
    const auto lists = [&](const Indices& offsets, const Columns& columns) {
      return said([&](Candidates<double>& c) {
        (positives ? c.positives.offsets : c.exclude.offsets) = view(offsets);
        (positives ? c.positives.columns : c.exclude.columns) = view(columns);
      });
    };
    CHECK(lists({0, 1, 3}, {1, 0, 2}) == "");
    CHECK(lists({0, 3}, {1, 0, 2}) == what + " for 1 rows, the batch has 2");
    CHECK(lists({1, 1, 3}, {1, 0, 2}) == "the offsets begin at 1; they must begin at 0");
    CHECK(lists({0, 4, 3}, {1, 0, 2}) == "offset 2 is 3, less than 4 before it");
    CHECK(lists({0, 1, 2}, {1, 0, 2}) == "the offsets end at 2, the input has 3 rows");
    CHECK(lists({0, 1, 4}, {1, 0, 2}) == "the offsets end at 4, the input has 3 rows");
    CHECK(lists({0, 1, 3}, {1, 0, 3}) == what + ": column 3; the columns are 0 to 2");
    CHECK(lists({0, 1, 3}, {-1, 0, 2}) == what + ": column -1; the columns are 0 to 2");
  }
  const Indices empty_row = {0, 0, 1}, both_rows = {0, 1, 2}, targets = {0, 1};
  const Columns one_column = {1}, two_columns = {1, 0};
  CHECK(said([&](Candidates<double>& c) {
          c.positives.offsets = view(empty_row), c.positives.columns = view(one_column);
        }) == "row 0 has no positive column");
  CHECK(said([&](Candidates<double>& c) {
          c.positives.offsets = view(both_rows), c.positives.columns = view(two_columns), c.target = view(targets);
        }) == "rows with several positives take no targets, exclusions, hard negatives or uncorrected positives");

  const Candidates<double> none;
  CHECK(error_of([&] {
          in_batch_softmax(u, f.zeros({1, 4}), one, weight, none);
        }) == "[in_batch_softmax] 1 item columns for 2 users");
  CHECK(error_of([&] {
          in_batch_softmax(u, f.zeros({3, 5}), one, weight, none);
        }) == "[in_batch_softmax] user vectors [2, 4] and item vectors [3, 5] must have the same width");
  CHECK(error_of([&] { in_batch_softmax(u, v, one, f.ones({3}), none); }) == "[in_batch_softmax] 3 weights for 2 rows");
  CHECK(error_of([&] { in_batch_softmax(u, v, f.zeros({1}), weight, none); }) ==
        "[in_batch_softmax] the temperature is 0; it must be positive");
  CHECK(error_of([&] { in_batch_softmax(u, v, weight, weight, none); }) ==
        "[in_batch_softmax] the temperature has shape [2]; it must have one element");
}

TEST_CASE("values and anchors of alignment losses: lengths and shapes are checked") {
  Fixture f;
  const Variable<double> u = f.zeros({2, 4}), v = f.zeros({3, 4}), one = f.ones({1});
  const std::vector<double> column_value = {1, 2, 3}, short_value = {1, 2};
  const Anchor<double> anchor{u.value(), v.value(), 1};
  const std::vector<int64_t> falling = {0, 3, 2};
  const std::vector<int32_t> columns = {0, 1};
  PairValue<double> good, of_two, bad_lists;
  good.column_value = bad_lists.column_value = view(column_value), of_two.column_value = view(short_value);
  bad_lists.exclude = {view(falling), view(columns)};
  struct Loss {
    std::string name;
    std::function<void(const PairValue<double>&, const Anchor<double>&)> call;
  };
  const std::vector<Loss> losses = {
      {"alignment_kl", [&](const auto& value, const auto&) { alignment_kl(u, v, one, value); }},
      {"alignment_reward", [&](const auto& value, const auto& a) { alignment_reward(u, v, one, value, a, 0.1); }},
      {"alignment_dpo", [&](const auto& value, const auto& a) { alignment_dpo(u, v, one, value, a, 0.1); }}};
  for (const Loss& loss : losses) {
    const auto said = [&](const PairValue<double>& value, const Anchor<double>& a) {
      return error_of([&] { loss.call(value, a); });
    };
    const std::string op = "[" + loss.name + "] ";
    CHECK(said(good, anchor) == "");
    CHECK(said(of_two, anchor) == op + "column_value has 2 entries for 3 columns");
    CHECK(said(PairValue<double>(), anchor) == op + "column_value has 0 entries for 3 columns");
    CHECK(said(bad_lists, anchor) == op + "offset 2 is 2, less than 3 before it");
    if (loss.name == "alignment_kl") continue;
    CHECK(said(good, {v.value(), v.value(), 1}) ==
          op + "the anchor has users [3, 4] and items [3, 4], the batch [2, 4] and [3, 4]");
    CHECK(said(good, {u.value(), f.zeros({3, 5}).value(), 1}) ==
          op + "the anchor has users [2, 4] and items [3, 5], the batch [2, 4] and [3, 4]");
    CHECK(said(good, {u.value(), v.value(), 0}) == op + "the anchor's temperature is 0; it must be positive");
  }
}

TEST_CASE("lists and the numbers of their entries: every index, length and weight is checked") {
  Fixture f;
  const Variable<double> u = f.zeros({2, 4}), v = f.zeros({3, 4}), s = f.zeros({3});
  const std::vector<int64_t> offsets = {0, 1, 3}, three_rows = {0, 1, 2, 3};
  const auto scores = [&](const Variable<double>& users, const std::vector<int64_t>& o, const std::vector<int32_t>& c) {
    return error_of([&] { list_scores(users, v, {view(o), view(c)}); });
  };
  CHECK(scores(u, offsets, {1, 0, 2}) == "");
  CHECK(scores(u, three_rows, {1, 0, 2}) == "[list_scores] lists for 3 rows, the batch has 2");
  CHECK(scores(u, offsets, {1, 0, 3}) == "[list_scores] lists: column 3; the columns are 0 to 2");
  CHECK(scores(u, offsets, {-1, 0, 2}) == "[list_scores] lists: column -1; the columns are 0 to 2");
  CHECK(scores(f.zeros({2, 5}), offsets, {1, 0, 2}) ==
        "[list_scores] user vectors [2, 5] and item vectors [3, 4] must have the same width");

  using Numbers = std::vector<double>;
  const Numbers good = {1, 2, 3}, two = {1, 2};
  const auto squared = [&](const Numbers& target, const Numbers& weight, const Numbers& row_weight) {
    return error_of([&] { list_squared_error(s, view(offsets), view(target), view(weight), view(row_weight)); });
  };
  CHECK(squared(good, {}, {}) == "");
  CHECK(squared(good, good, two) == "");
  const std::string op = "[list_squared_error] ";
  CHECK(squared(two, {}, {}) == op + "target has 2 numbers for 3 scores");
  CHECK(squared(good, two, {}) == op + "weight has 2 numbers for 3 scores");
  CHECK(squared(good, {}, good) == op + "row_weight has 3 numbers for 2 rows");
  const std::string must = "; weights must be finite and not negative";
  CHECK(squared(good, {1, -0.5, 1}, {}) == op + "weight 1 is -0.5" + must);
  CHECK(squared(good, {}, {1, std::numeric_limits<double>::infinity()}) == op + "row_weight 1 is inf" + must);
  CHECK(error_of([&] { list_margin(s, view(offsets), view(two), {}); }) ==
        "[list_margin] target has 2 numbers for 3 scores");
  CHECK(error_of([&] { list_kl(s, view(offsets), view(two), {}); }) == "[list_kl] target has 2 numbers for 3 scores");
  CHECK(error_of([&] { list_kl(s, view(offsets), view(good), view(two)); }) ==
        "[list_kl] log_q has 2 numbers for 3 scores");

  const auto reward = [&](const Numbers& value, const Numbers& anchor, const Numbers& log_q, double beta) {
    return error_of([&] { list_reward(s, view(offsets), view(value), view(anchor), view(log_q), beta); });
  };
  CHECK(reward(good, good, good, 0) == "");
  CHECK(reward(two, good, {}, 0.1) == "[list_reward] value has 2 numbers for 3 scores");
  CHECK(reward(good, two, {}, 0.1) == "[list_reward] anchor has 2 numbers for 3 scores");
  CHECK(reward(good, good, two, 0.1) == "[list_reward] log_q has 2 numbers for 3 scores");
  CHECK(reward(good, good, {}, -1) == "[list_reward] beta is -1; it must be finite and not negative");
  const auto dpo = [&](const Numbers& value, const Numbers& anchor, double beta, int64_t winners) {
    return error_of([&] { list_dpo(s, view(offsets), view(value), view(anchor), beta, winners); });
  };
  CHECK(dpo(good, good, 0.1, 9) == "");
  CHECK(dpo(two, good, 0.1, 1) == "[list_dpo] value has 2 numbers for 3 scores");
  CHECK(dpo(good, two, 0.1, 1) == "[list_dpo] anchor has 2 numbers for 3 scores");
  CHECK(dpo(good, good, std::nan(""), 1) == "[list_dpo] beta is nan; it must be finite and not negative");
  CHECK(dpo(good, good, 0.1, 0) == "[list_dpo] 0 winners a row; there must be at least one");
}
