/* The C interface of twotower: open a bundle, and find the items that fit a user.
 *
 *   tt_model* model;
 *   if (tt_model_open("bundle.safetensors", NULL, &model) != TT_OK) die(tt_last_error());
 *   tt_session* session;
 *   if (tt_session_open(model, NULL, &session) != TT_OK) die(tt_last_error());
 *   tt_user user = {.struct_size = sizeof user, .id = "196"};
 *   const tt_results* top;
 *   if (tt_recommend(session, &user, 1, 10, NULL, &top) != TT_OK) die(tt_session_error(session));
 *   for (size_t r = 0; r < top->counts[0]; ++r) printf("%s %g\n", top->ids[r], top->scores[r]);
 *   tt_session_close(session);
 *   tt_model_close(model);
 *
 * What holds for all functions
 *
 * - Handles. A tt_model is shared by all threads: tt_model_* and tt_filter_* may be called from any thread at any time,
 *   also while others search or change items. A tt_session belongs to one thread at a time, and holds what that thread
 *   needs; a call on one that is in a call already is refused with TT_ERROR_BUSY. A handle that was closed, is of
 *   another kind, or is no handle is refused with TT_ERROR_HANDLE and never followed. Closing one while a call on it
 *   runs is the caller's mistake. A model lives on until its last session and filter are closed, too.
 * - Errors. Every call that can fail returns a tt_status, and then has done nothing: out-parameters are as they were,
 *   save that a handle to be made is NULL and buffers for vectors or scores may be written in part. tt_last_error() is
 *   the text.
 * - Structs that the caller fills begin with struct_size, sizeof of the struct as the caller was compiled with; fill
 *   the rest with zeros, and set what shall differ: zero is every field's default. Where options may be NULL, all are
 *   the default. A library that is older than the caller refuses what it does not know with TT_ERROR_ARGUMENT, unless
 *   it is zero. In an array, every struct has the same struct_size.
 * - Memory. What the caller passes is read during the call alone (tt_model_open_memory says what else it may do). What
 *   a session returns is the session's, and valid until the session's next call or its end. The library frees nothing
 *   of the caller's, and the caller frees nothing of the library's but by closing handles.
 * - Texts are UTF-8 that ends in a zero byte. An id is compared byte by byte.
 * - Threads. A call runs on its own thread, and on as many more as tt_session_options.threads allows: none by default.
 *   Answers have the same bits on any number of threads. Calls from inside an OpenMP region run on their thread alone,
 *   and so do calls in a child of fork(). It may use its parent's models, unless at that moment a tt_model_* or
 *   tt_filter_open() call on one ran or its items had just changed, and those of its parent's sessions and filters that
 *   were in no call.
 * - What is declared here keeps its meaning and layout within a minor version, from 1.0 on within a major one. What may
 *   change at any time is declared only where TT_EXPERIMENTAL is defined; in this version that is nothing.
 * - The library writes to no stream, installs no signal handler, ends no process and changes no setting of its host.
 *   Once a session has seen calls of some size, calls of that size allocate nothing.
 */
#ifndef TWOTOWER_H
#define TWOTOWER_H

#include <stddef.h>
#include <stdint.h>

#define TT_VERSION_MAJOR 0
#define TT_VERSION_MINOR 1
#define TT_VERSION_PATCH 0
#define TT_VERSION_NUMBER (TT_VERSION_MAJOR * 10000 + TT_VERSION_MINOR * 100 + TT_VERSION_PATCH)

#if defined(__GNUC__)
#define TT_API __attribute__((visibility("default")))
#else
#define TT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version that runs, as TT_VERSION_NUMBER is the one compiled with; and as text, "0.1.0". Never fail. */
TT_API int tt_version_number(void);
TT_API const char* tt_version_string(void);

/* ---- Errors ---------------------------------------------------------------------------------------------------- */

/* These numbers never change their meaning; later versions may add some. */
typedef int32_t tt_status;
enum {
  TT_OK = 0,
  TT_ERROR_ARGUMENT = 1,    /* a null pointer, a wrong size, NaN, text that is not UTF-8: the caller's mistake */
  TT_ERROR_HANDLE = 2,      /* closed, of another kind, of another model, or no handle */
  TT_ERROR_BUSY = 3,        /* the session is in a call already, on another thread or in a log callback */
  TT_ERROR_NOT_FOUND = 4,   /* a user, item, column or value that the model does not have */
  TT_ERROR_EXISTS = 5,      /* an item that is there already */
  TT_ERROR_UNSUPPORTED = 6, /* this model cannot: it holds no users, has no item features, no light ranker */
  TT_ERROR_IO = 7,          /* a file cannot be opened, read or written */
  TT_ERROR_CORRUPT = 8,     /* no bundle, one of another version, a damaged one */
  TT_ERROR_MEMORY = 9,      /* there is no memory for it; the handles stay usable */
  TT_ERROR_INTERNAL = 10    /* a bug of this library */
};

/* "TT_ERROR_IO"; "TT_ERROR_UNKNOWN" for a number that is none of these. Never NULL, static. */
TT_API const char* tt_status_name(tt_status status);

/* One line of UTF-8 that says what was wrong with the calling thread's last call that failed, and how to mend it:
 * "[bundle a.safetensors] cannot be opened: No such file or directory; check the path". "" before the first. Never
 * NULL; valid until the thread's next call that fails. */
TT_API const char* tt_last_error(void);

/* ---- Models ---------------------------------------------------------------------------------------------------- */

typedef struct tt_model tt_model;     /* a bundle, opened, and its items as they are now */
typedef struct tt_session tt_session; /* what one thread needs to ask a model */
typedef struct tt_filter tt_filter;   /* which items may be returned */

enum { TT_LOG_INFO = 1, TT_LOG_WARNING = 2, TT_LOG_ERROR = 3 };

/* text: one line, valid during the call. It may come on any thread that calls the library, must not throw or jump out,
 * and may call the library, save on the session that is in the call. */
typedef void (*tt_log_function)(void* data, int32_t level, const char* text);

typedef struct tt_open_options {
  size_t struct_size;
  int32_t verify; /* 1: read all of the bundle and refuse one of which any byte was changed (TT_ERROR_CORRUPT). 0: look
                     at what tells whether its parts belong together, which takes no longer for a large file (but
                     tables in 8 or 16 bits are unpacked); damage elsewhere may then give wrong answers, and is
                     never followed out of the file */
  int32_t copy;   /* tt_model_open_memory: 1 copies the bytes */
  tt_log_function log; /* NULL: nothing is told */
  void* log_data;      /* passed to log as it is; like log, used until the model's last session is closed */
} tt_open_options;

/* Opens a bundle. The file is mapped: replace it by renaming another over it, do not write into it. Searches go through
 * the index that it holds (`twotower pack --index int8`); through an exact one where it holds none.
 * On success *out is a handle for tt_model_close(). options may be NULL.
 * Errors: ARGUMENT, IO, CORRUPT, MEMORY. */
TT_API tt_status tt_model_open(const char* path, const tt_open_options* options, tt_model** out);

/* Opens a bundle in memory. Unless options->copy is set, the bytes are borrowed: they must neither change nor go away
 * until the model and its last session and filter are closed. Best aligned to 64 bytes; where a table then lies at an
 * address that does not fit its type, that table is copied.
 * Errors: ARGUMENT, CORRUPT, MEMORY. */
TT_API tt_status tt_model_open_memory(const void* data, size_t size, const tt_open_options* options, tt_model** out);

/* NULL is allowed and does nothing. Errors: HANDLE. */
TT_API tt_status tt_model_close(tt_model* model);

typedef struct tt_info {
  size_t struct_size;
  size_t dimension;       /* floats of a user's or an item's vector */
  size_t items;           /* in the catalog now, on offer or not */
  size_t items_available; /* of these, on offer */
  size_t users;           /* known by id; 0 in a bundle without users */
  size_t history_length;  /* how many items of a history the model reads, the newest; 0: it reads none */
  size_t candidates;      /* how many of the best by inner product the light ranker puts in order; 0: there is none */
  int32_t adds_items;     /* 1: the model reads item features, so items can be added from them */
  int32_t reserved;
} tt_info;

/* Fills the caller's struct, as far as its struct_size reaches. Errors: ARGUMENT, HANDLE. */
TT_API tt_status tt_model_info(tt_model* model, tt_info* out);

/* The names of the features that a user or an item is described by, and of the columns that a filter can ask for:
 * number 0, 1, ...; NULL beyond the last and for a bad handle. Valid until the model is gone. */
TT_API const char* tt_model_user_feature(tt_model* model, size_t number);
TT_API const char* tt_model_item_feature(tt_model* model, size_t number);
TT_API const char* tt_model_filter_column(tt_model* model, size_t number);

/* ---- Users and items ------------------------------------------------------------------------------------------- */

/* A column of the raw data and its value as text, as it stood in the data the model was trained on: {"age", "25"}. A
 * user or an item has each once; sets of categories are joined by '|'. A value that the model cannot read counts as
 * missing, as does "". */
typedef struct tt_feature {
  const char* name;
  const char* value;
} tt_feature;

/* A user whom the bundle knows, by id; or, id NULL, one in words. */
typedef struct tt_user {
  size_t struct_size;
  const char* id;
  const tt_feature* features; /* with an id: none. What is not named is missing */
  size_t num_features;
  const char* const* history; /* with an id: none. Item ids, newest first; unknown ones are passed over */
  size_t num_history;
  const char* const* exclude; /* item ids that shall not be returned, on top of what the user has seen */
  size_t num_exclude;
} tt_user;

/* An item of the catalog, by id; or one in words. */
typedef struct tt_item {
  size_t struct_size;
  const char* id;
  const tt_feature* features; /* what is not named is missing */
  size_t num_features;
} tt_item;

/* ---- Filters --------------------------------------------------------------------------------------------------- */

/* Items whose column has one of these values. */
typedef struct tt_condition {
  const char* column;
  const char* const* values;
  size_t num_values;
} tt_condition;

typedef struct tt_filter_options {
  size_t struct_size;
  const char* const* allowed; /* item ids; NULL: all. Ids that the model does not have match nothing */
  size_t num_allowed;         /* 0 with allowed not NULL: nothing is allowed */
  const char* const* excluded;
  size_t num_excluded;
  const tt_condition* conditions; /* all must hold */
  size_t num_conditions;
} tt_filter_options;

/* Makes a filter: made once, used by any number of sessions of this model at a time. It follows the items: one that is
 * added later passes if it fits. Everything is copied. Items that are not on offer never pass.
 * Errors: ARGUMENT, HANDLE, NOT_FOUND (a column, or a value that no item has), CORRUPT, MEMORY. */
TT_API tt_status tt_filter_open(tt_model* model, const tt_filter_options* options, tt_filter** out);

/* NULL is allowed and does nothing. Errors: HANDLE. */
TT_API tt_status tt_filter_close(tt_filter* filter);

/* ---- Sessions: asking ------------------------------------------------------------------------------------------ */

typedef struct tt_session_options {
  size_t struct_size;
  int32_t threads; /* a call may run on so many, its own among them, at most 1024; 0 is 1 */
  int32_t reserved;
} tt_session_options;

/* Errors: ARGUMENT, HANDLE, MEMORY. */
TT_API tt_status tt_session_open(tt_model* model, const tt_session_options* options, tt_session** out);

/* NULL is allowed and does nothing. Errors: HANDLE, BUSY. */
TT_API tt_status tt_session_close(tt_session* session);

/* As tt_last_error(), of the session's last call that failed, on whichever thread: for callers whose work wanders
 * between threads. "" before the first; a line that says so for a bad handle. Never NULL; valid until the session's
 * next call that fails, or its end. */
TT_API const char* tt_session_error(tt_session* session);

/* The answers to `queries` users or vectors: query q has counts[q] of them, best first, equal scores in a fixed order.
 * Places q * k + counts[q] and on, up to (q + 1) * k, hold NULL, NULL and -infinity. Only the library makes one: later
 * versions may add fields at its end. */
typedef struct tt_results {
  size_t queries;
  size_t k;                  /* places a query: what was asked for, or fewer where there are fewer items */
  const size_t* counts;      /* [queries] */
  const char* const* ids;    /* [queries * k] */
  const char* const* titles; /* [queries * k] the items' names for people; "" where there are none */
  const float* scores;       /* [queries * k] inner products or, with a light ranker, its values */
  size_t unknown_values;     /* values of features that the model cannot read, of all users together */
  size_t unknown_items;      /* ids in histories and exclude that it does not have */
} tt_results;

typedef struct tt_query_options {
  size_t struct_size;
  const tt_filter* filter; /* NULL: all items on offer */
  size_t candidates;       /* how many the light ranker puts in order; 0: tt_info.candidates */
  int32_t include_seen;    /* 1: items that the user was shown, or has in the history, may be returned */
  int32_t no_rerank;       /* 1: by inner products alone, the light ranker left out */
} tt_query_options;

/* The k best items of each user, of those on offer that were not seen, are not excluded and pass the filter; fewer
 * where fewer are left. users: [num_users]; options may be NULL. Errors: ARGUMENT (k = 0, and k above the candidates of
 * a light ranker among them), HANDLE, BUSY, NOT_FOUND (a user, a feature's name), UNSUPPORTED (users by id in a bundle
 * without users; candidates without a light ranker), CORRUPT (damage found on the way), MEMORY. */
TT_API tt_status tt_recommend(tt_session* session, const tt_user* users, size_t num_users, size_t k,
                              const tt_query_options* options, const tt_results** out);

/* The k items of highest inner product with each vector. queries: [num_queries, dimension], finite; dimension must be
 * the model's. Of the options, the filter alone counts; others must be 0.
 * Errors: ARGUMENT, HANDLE, BUSY, CORRUPT, MEMORY. */
TT_API tt_status tt_search(tt_session* session, const float* queries, size_t num_queries, size_t dimension, size_t k,
                           const tt_query_options* options, const tt_results** out);

/* The scores by which tt_recommend() orders, of given pairs: pair p is of users[user_of[p]] and the item items[p].
 * user_of NULL: all pairs are of the one user if num_users is 1, else pair p is of user p. Pairs of one user are
 * fastest side by side. users[].exclude is not looked at. scores: [num_pairs], the caller's. Items need not be on
 * offer. Of the options, no_rerank alone counts; others must be 0. Errors: ARGUMENT, HANDLE, BUSY, NOT_FOUND (a user,
 * an item, a feature's name), UNSUPPORTED, CORRUPT, MEMORY. */
TT_API tt_status tt_score(tt_session* session, const tt_user* users, size_t num_users, const size_t* user_of,
                          const char* const* items, size_t num_pairs, const tt_query_options* options, float* scores);

/* The users' vectors into the caller's [num_users, dimension] floats; vectors_size: how many floats there are, at least
 * as many as are written. users[].exclude is not looked at.
 * Errors: ARGUMENT, HANDLE, BUSY, NOT_FOUND, UNSUPPORTED, CORRUPT, MEMORY. */
TT_API tt_status tt_embed_users(tt_session* session, const tt_user* users, size_t num_users, float* vectors,
                                size_t vectors_size);

/* The items' vectors: of an item with an id, the catalog's, and it must come without features; of an item whose id is
 * NULL, what the item tower makes of its features, columns of filters passed over.
 * Errors: as tt_embed_users(). */
TT_API tt_status tt_embed_items(tt_session* session, const tt_item* items, size_t num_items, float* vectors,
                                size_t vectors_size);

/* ---- Items that come, change and go ------------------------------------------------------------------------------ */

/* These change all items given or, on an error, none. Calls that run see the items as they were, calls that begin later
 * as they are. */

/* New items from their features, on offer at once. Their ids must be UTF-8, not empty, and each given once. Features
 * may be columns of filters that the model does not read, too. An item that training has met, such as one that was
 * removed and comes back, has what was learnt of it; others go by their features alone. unknown_values, if not NULL,
 * becomes the number of values that are not known and count as missing. Errors: ARGUMENT, HANDLE, NOT_FOUND (a
 * feature's name), EXISTS, UNSUPPORTED (tt_info.adds_items is 0), CORRUPT, MEMORY. */
TT_API tt_status tt_model_add_items(tt_model* model, const tt_item* items, size_t num_items, size_t* unknown_values);

/* The same for items that are there: they get new features. One that is not on offer stays so.
 * Errors: as above, NOT_FOUND for an item instead of EXISTS. */
TT_API tt_status tt_model_replace_items(tt_model* model, const tt_item* items, size_t num_items,
                                        size_t* unknown_values);

/* Errors: ARGUMENT, HANDLE, NOT_FOUND, CORRUPT, MEMORY. */
TT_API tt_status tt_model_remove_items(tt_model* model, const char* const* ids, size_t num_ids);

/* available: 0 takes them off the offer, 1 puts them back. An item off the offer is returned by no search, can be in a
 * history, and can be scored. Errors: ARGUMENT, HANDLE, NOT_FOUND, CORRUPT, MEMORY. */
TT_API tt_status tt_model_set_available(tt_model* model, const char* const* ids, size_t num_ids, int32_t available);

/* Writes a bundle with the items as they are now, its tables as floats also where they were in fewer bits. A file of
 * that name is the old one or the whole new one, also after a crash. Errors: ARGUMENT, HANDLE, IO, CORRUPT, MEMORY. */
TT_API tt_status tt_model_save(tt_model* model, const char* path);

#ifdef __cplusplus
}
#endif

#endif
