#pragma once
// A bundle with its items as they have become (catalog.h), as a file again.

#include <twotower/models/retrieval/catalog.h>

#include <string>

namespace tt {

// items: a state of the bundle's catalog. All that training met keeps its row, since rows are what the id table and
// histories know items by: a replaced item has its new vector there, a removed one is marked as gone. Items that came
// later follow behind. Tables are written as floats, also those of a bundle that held them in fewer bits. An index that
// the bundle holds is kept where no vector is another, else built anew, which takes its time. Atomic; Error if the file
// cannot be written.
void save_bundle(const std::string& path, const Bundle& bundle, const Catalog& items);

}  // namespace tt
