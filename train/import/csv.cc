// Any delimited text with a header; quoted fields as in RFC 4180.
#include <twotower/train/import/interactions.h>

namespace tt {

Imported import_csv(const ImportOptions& options) {
  return import_tables("csv", {options.delimiter, true, false}, options);
}

}  // namespace tt
