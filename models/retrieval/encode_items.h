#pragma once
// The vectors of items, by the item tower.

#include <twotower/models/two_tower.h>

#include <cstdint>

namespace tt {

// Items as the item tower reads them. An item that training has not met goes without its id: its row of the table is
// still what chance made it.
struct ItemRows {
  int64_t count = 0;
  const uint8_t* learnt = nullptr;  // [count] 1: the row of the id table that has the item's number is used; null: none
  const float* features = nullptr;  // [count, II], or null where the model reads none
  const int64_t* ids = nullptr;     // [count] rows of the id table, -1 for none; null: as `learnt` says
};

// Their vectors [count, DI], a tile at a time.
void encode_items(const TwoTower<float>& model, const ItemRows& items, float* out);
// The same on a tape that keeps values only, and its arena: once they have seen such items, nothing is allocated.
void encode_items(const TwoTower<float>& model, const ItemRows& items, Arena& arena, Tape<float>& tape, float* out);

}  // namespace tt
