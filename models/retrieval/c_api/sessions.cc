// Sessions and filters of the C interface: opening and closing.

#include <twotower/models/retrieval/c_api/state.h>

namespace tt::c_api {
namespace {

constexpr int32_t kMostThreads = 1024;

std::vector<std::string> copies(const Texts& texts) {
  std::vector<std::string> out;
  for (size_t i = 0; i < texts.size(); ++i) out.emplace_back(texts[i]);
  return out;
}

Conditions read_conditions(const tt_filter_options* given) {
  const char* where = "tt_filter_open";
  const auto options = read_struct(given, where, "options");
  Conditions out;
  check_array(options.conditions, options.num_conditions, where, "conditions");
  for (size_t i = 0; i < options.num_conditions; ++i) {
    const tt_condition& condition = options.conditions[i];
    need(condition.column, where, "conditions[].column");
    out.where.push_back(
        {condition.column, copies(Texts(condition.values, condition.num_values, where, "conditions[].values"))});
  }
  const Texts allowed(options.allowed, options.num_allowed, where, "allowed");
  if (options.allowed) out.only = copies(allowed);
  out.without = copies(Texts(options.excluded, options.num_excluded, where, "excluded"));
  return out;
}

}  // namespace
}  // namespace tt::c_api

using namespace tt::c_api;

extern "C" {

tt_status tt_filter_open(tt_model* model, const tt_filter_options* options, tt_filter** out) {
  if (out) *out = nullptr;
  return in_model(model, "tt_filter_open", TT_ERROR_INTERNAL, [&](Model& m) {
    need(out, "tt_filter_open", "out");
    auto filter = std::make_unique<Filter>(Filter{m.self, tt::Filter(m.live.snapshot(), read_conditions(options))});
    *out = open_handle<tt_filter>(filter.get());
    filter.release();
  });
}

tt_status tt_filter_close(tt_filter* filter) {
  if (!filter) return TT_OK;
  return guarded(TT_ERROR_INTERNAL, nullptr, [&] {
    const std::unique_ptr<Filter> object(close_handle(filter));
    if (!object) refuse(TT_ERROR_HANDLE, "tt_filter_close", "the filter is closed already, or is none");
  });
}

tt_status tt_session_open(tt_model* model, const tt_session_options* options, tt_session** out) {
  if (out) *out = nullptr;
  return in_model(model, "tt_session_open", TT_ERROR_INTERNAL, [&](Model& m) {
    const char* where = "tt_session_open";
    need(out, where, "out");
    const auto own = read_struct(options, where, "options");
    if (own.threads < 0 || own.threads > kMostThreads)
      refuse(TT_ERROR_ARGUMENT, where, "options.threads is ", own.threads, "; give 1 to ", kMostThreads);
    if (own.reserved != 0) refuse(TT_ERROR_ARGUMENT, where, "options.reserved is not 0");
    auto session = std::make_unique<Session>(m.self, own.threads == 0 ? 1 : own.threads);
    *out = open_handle<tt_session>(session.get());
    session.release();
  });
}

tt_status tt_session_close(tt_session* session) {
  if (!session) return TT_OK;
  return guarded(TT_ERROR_INTERNAL, nullptr, [&] {
    const char* where = "tt_session_close";
    Session* object = object_of(session);
    if (object && object->busy.exchange(true, std::memory_order_acquire))
      refuse(TT_ERROR_BUSY, where, "the session is in a call; close it when the call is over");
    const std::unique_ptr<Session> last(close_handle(session));
    if (!last) refuse(TT_ERROR_HANDLE, where, "the session is closed already, or is none");
  });
}

const char* tt_session_error(tt_session* session) {
  const Session* object = object_of(session);
  return object ? object->error : "[tt_session_error] the session is closed, or is none";
}

}  // extern "C"
