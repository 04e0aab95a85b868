// RecBole atomic files: tab-separated, a header of NAME:TYPE, quotes are plain characters.
#include <twotower/train/import/interactions.h>

namespace tt {

Imported import_recbole(const ImportOptions& options) { return import_tables("recbole", {'\t', false, true}, options); }

}  // namespace tt
