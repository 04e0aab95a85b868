// What sessions of the C interface find: the best items of users and for vectors, and the scores of pairs.

#include <twotower/models/retrieval/c_api/state.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace tt::c_api {
namespace {

Ask read_options(const Session& session, const tt_query_options& options, size_t k, const char* where) {
  Ask ask;
  if (k == 0) refuse(TT_ERROR_ARGUMENT, where, "k = 0; ask for at least 1 item");
  constexpr auto most = static_cast<size_t>(std::numeric_limits<int64_t>::max());
  if (options.filter) {
    const Filter* filter = object_of(options.filter);
    if (!filter) refuse(TT_ERROR_HANDLE, where, "options.filter is closed, or is none");
    if (filter->model != session.model)
      refuse(TT_ERROR_HANDLE, where, "options.filter is of another model; make one for the model that is searched");
    ask.among = &filter->filter;
  }
  // More than there are is all: there are fewer than 2^31.
  ask.k = std::max<int64_t>(1, std::min(static_cast<int64_t>(std::min(k, most)), session.items.rows()));
  ask.candidates = static_cast<int64_t>(std::min(options.candidates, most));
  ask.rerank = !read_flag(options.no_rerank, where, "options.no_rerank");
  return ask;
}

void check_unused(bool unused, const char* where, const char* what) {
  if (!unused) refuse(TT_ERROR_ARGUMENT, where, "of the options, ", what, " alone counts here; leave the others 0");
}

// The light ranker puts no more in order than its candidates.
void check_candidates(const Recommender& recommender, const Catalog& items, const Ask& ask, const char* where) {
  if (!recommender.reranks(ask)) {
    if (ask.candidates > 0)
      refuse(recommender.has_light_ranker() ? TT_ERROR_ARGUMENT : TT_ERROR_UNSUPPORTED, where,
             "options.candidates are for a light ranker to put in order, and ",
             recommender.has_light_ranker() ? "this model's is left out" : "this model has none", "; leave it 0");
    return;
  }
  const int64_t candidates = ask.candidates > 0 ? ask.candidates : recommender.model().config().num_mips_items;
  if (ask.k > candidates && items.count(ask.among) > candidates)
    refuse(TT_ERROR_ARGUMENT, where, "k = ", ask.k, " is more than the ", candidates,
           " candidates that the light ranker puts in order; ask for fewer, or raise options.candidates");
}

// The answers of session.top as the caller reads them.
const tt_results* answers_of(Session& s) {
  Answers& a = s.answers;
  const TopItems& top = s.top;
  const size_t queries = top.counts.size(), k = static_cast<size_t>(top.k), places = queries * k;
  a.counts.resize(queries);
  a.text.clear(), a.id_at.clear(), a.title_at.clear();
  const auto keep = [&](std::string_view text) {
    a.text.insert(a.text.end(), text.begin(), text.end());
    a.text.push_back(0);
  };
  for (size_t q = 0; q < queries; ++q) {
    const auto rows = top.items(static_cast<int64_t>(q));
    a.counts[q] = rows.size();
    for (const int64_t row : rows) {
      a.id_at.push_back(a.text.size());
      keep(s.items.id(row));
      a.title_at.push_back(a.text.size());
      keep(s.items.title(row));
    }
  }
  a.ids.assign(places, nullptr), a.titles.assign(places, nullptr);
  for (size_t q = 0, at = 0; q < queries; ++q)
    for (size_t r = 0; r < a.counts[q]; ++r, ++at) {
      a.ids[q * k + r] = a.text.data() + a.id_at[at];
      a.titles[q * k + r] = a.text.data() + a.title_at[at];
    }
  a.results = {queries,
               k,
               a.counts.data(),
               a.ids.data(),
               a.titles.data(),
               top.values.data(),
               s.batch.unknown_values,
               s.batch.unknown_items};
  return &a.results;
}

}  // namespace
}  // namespace tt::c_api

using namespace tt::c_api;

extern "C" {

tt_status tt_recommend(tt_session* session, const tt_user* users, size_t num_users, size_t k,
                       const tt_query_options* options, const tt_results** out) {
  const char* where = "tt_recommend";
  return in_session(session, where, [&](Session& s) {
    need(out, where, "out");
    const tt_query_options own = read_struct(options, where, "options");
    const tt::Recommender& recommender = *s.recommender;
    tt::Ask ask = read_options(s, own, k, where);
    check_candidates(recommender, s.items, ask, where);
    const auto served =
        read_users(s, users, num_users, read_flag(own.include_seen, where, "options.include_seen"), where);
    recommender.recommend(s.session, served, ask, s.top);
    *out = answers_of(s);
  });
}

tt_status tt_search(tt_session* session, const float* queries, size_t num_queries, size_t dimension, size_t k,
                    const tt_query_options* options, const tt_results** out) {
  const char* where = "tt_search";
  return in_session(session, where, [&](Session& s) {
    need(out, where, "out");
    const tt_query_options own = read_struct(options, where, "options");
    check_unused(own.candidates == 0 && own.include_seen == 0 && own.no_rerank == 0, where, "the filter");
    check_array(queries, num_queries, where, "queries");
    if (dimension != static_cast<size_t>(s.items.width()))
      refuse(TT_ERROR_ARGUMENT, where, "dimension is ", dimension, ", the model's vectors have ", s.items.width());
    for (size_t i = 0; i < num_queries * dimension; ++i)
      if (!std::isfinite(queries[i])) [[unlikely]]
        refuse(TT_ERROR_ARGUMENT, where, "query ", i / dimension, " holds ", queries[i], " at ", i % dimension,
               "; vectors must be finite");
    const tt::Ask ask = read_options(s, own, k, where);
    s.batch.unknown_values = s.batch.unknown_items = 0;
    s.recommender->search(s.session, {queries, {static_cast<int64_t>(num_queries), s.items.width()}}, ask, s.top);
    *out = answers_of(s);
  });
}

tt_status tt_score(tt_session* session, const tt_user* users, size_t num_users, const size_t* user_of,
                   const char* const* items, size_t num_pairs, const tt_query_options* options, float* scores) {
  const char* where = "tt_score";
  return in_session(session, where, [&](Session& s) {
    const tt_query_options own = read_struct(options, where, "options");
    check_unused(own.filter == nullptr && own.candidates == 0 && own.include_seen == 0, where, "no_rerank");
    const tt::Ask ask = {.rerank = !read_flag(own.no_rerank, where, "options.no_rerank")};
    const Texts ids(items, num_pairs, where, "items");
    check_array(scores, num_pairs, where, "scores");
    const auto served = read_users(s, users, num_users, true, where);
    if (!user_of && num_users != 1 && num_users != num_pairs)
      refuse(TT_ERROR_ARGUMENT, where, "user_of is NULL, and ", num_users, " users are neither one nor as many as the ",
             num_pairs, " pairs; say which pair is of which user");
    s.item_ids.clear();
    for (size_t p = 0; p < num_pairs; ++p) {
      s.item_ids.push_back(ids[p]);
      if (user_of && user_of[p] >= num_users)
        refuse(TT_ERROR_ARGUMENT, where, "user_of[", p, "] is ", user_of[p], ", there are ", num_users, " users");
    }
    const auto user = [&](size_t p) { return user_of ? user_of[p] : num_users == 1 ? 0 : p; };
    for (size_t begin = 0, end = 0; begin < num_pairs; begin = end) {
      while (end < num_pairs && user(end) == user(begin)) ++end;
      s.recommender->score(s.session, served[user(begin)], std::span(s.item_ids).subspan(begin, end - begin),
                           scores + begin, ask);
    }
  });
}

}  // extern "C"
