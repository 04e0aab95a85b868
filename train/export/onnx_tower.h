#pragma once
// The user tower as an ONNX model, for runtimes that are not ours (docs/formats.md, "The user tower as ONNX").
//
//   user_id          i64 [batch]                row of the user, -1: unknown
//   user_features    f32 [batch, IU]            encoded; where the model reads features
//   user_history     i64 [batch, history]       item rows, newest first; -1: nothing there. Where the model has a
//   history history_actions  u8  [batch, history, A]    where the model reads actions user_embedding   f32 [batch, DI]
//   the output
//
// As in Recommender, users and items that training has not met go without their ids' vectors, and of a history only the
// newest so many items that training has met are read.

#include <twotower/models/bundle/bundle.h>

#include <string>

namespace tt {

void write_user_tower(const std::string& path, const Bundle& bundle);

}  // namespace tt
