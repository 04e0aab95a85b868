#pragma once
// Files with a line a user: `user item item ...`, separated by spaces or tabs.
//
// Ids are any text. But in files of numbered users or items (the LightGCN family's) a token that is no number is most
// likely damage: where a single id of a kind is no whole number, or fewer than one in 200, the file is refused; where
// more are, all are taken as text, with a note.

#include <twotower/train/import/import.h>

namespace tt {

// The files' own split, or random:0.8. An item counts once a line; a user has one line a file.
Imported import_lists(const ImportOptions& options);
// One file whose places in a line are the time; an item may come again.
Imported import_sequences(const ImportOptions& options);

}  // namespace tt
