#pragma once
// The user tower as an ONNX model, for runtimes that are not ours (docs/formats.md, "The user tower as ONNX").
//
//   user_id          i64 [batch]              number of the user, -1: unknown
//   user_features    f32 [batch, IU]          encoded; where the model reads features
//   user_history     i64 [batch, history]     numbers of items, newest first; -1: nothing; where it reads a history
//   history_actions  u8  [batch, history, A]  where the model reads actions
//   user_embedding   f32 [batch, DI]          what comes out
//
// Users and items are numbered as `twotower export` lists them: the bundle's rows without those of removed items.
// As in Recommender, users and items that training has not met go without their ids' vectors, and of a history only the
// newest so many items that training has met are read.

#include <twotower/models/bundle/bundle.h>

#include <string>

namespace tt {

void write_user_tower(const std::string& path, const Bundle& bundle);

}  // namespace tt
