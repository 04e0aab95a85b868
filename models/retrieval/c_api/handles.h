#pragma once
// Handles as C callers hold them: numbers in the guise of pointers, which name a place in a table and are never
// followed. So one that was closed, is of another kind, or is a pointer to something else is found out without a read
// of memory that may be gone. No address of a process looks like one, and a place's next handle differs from its last.

#include <twotower/models/retrieval/c_api/twotower.h>

#include <type_traits>

namespace tt::c_api {

struct Model;
struct Session;
struct Filter;

namespace detail {
enum class Kind : uint64_t { model = 1, session = 2, filter = 3 };
void* open(Kind kind, void* object);
void* find(Kind kind, const void* handle) noexcept;
void* close(Kind kind, const void* handle) noexcept;
}  // namespace detail

// What stands behind a handle type.
template <class Handle>
struct Behind;
template <>
struct Behind<tt_model> {
  using Object = Model;
  static constexpr detail::Kind kind = detail::Kind::model;
};
template <>
struct Behind<tt_session> {
  using Object = Session;
  static constexpr detail::Kind kind = detail::Kind::session;
};
template <>
struct Behind<tt_filter> {
  using Object = Filter;
  static constexpr detail::Kind kind = detail::Kind::filter;
};

// A new handle. Error when 2^24 are open.
template <class Handle>
Handle* open_handle(typename Behind<Handle>::Object* object) {
  return static_cast<Handle*>(detail::open(Behind<Handle>::kind, object));
}
// The object, or null where the handle is none that is open.
template <class Handle>
auto* object_of(const Handle* handle) noexcept {
  using Type = std::remove_const_t<Handle>;
  return static_cast<typename Behind<Type>::Object*>(detail::find(Behind<Type>::kind, handle));
}
// The same, and the handle is open no longer. Of several threads that close it, one gets the object.
template <class Handle>
auto* close_handle(const Handle* handle) noexcept {
  using Type = std::remove_const_t<Handle>;
  return static_cast<typename Behind<Type>::Object*>(detail::close(Behind<Type>::kind, handle));
}

}  // namespace tt::c_api
