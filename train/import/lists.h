#pragma once
// Files with a line a user: `user item item ...`, separated by spaces or tabs.

#include <twotower/train/import/id_map.h>
#include <twotower/train/import/import.h>

namespace tt {

// Appends a row with label 1 for each item; time is the place in the line. A user on two lines is refused.
// `repeats` says whether an item may come twice in a line; otherwise later ones are left out, with a note.
void read_lists(const std::string& path, bool repeats, IdMap& users, IdMap& items, InteractionColumns& rows,
                std::vector<std::string>& notes);

}  // namespace tt
