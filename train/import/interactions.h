#pragma once
// Interactions from a table with a header, shared by the RecBole and csv importers.

#include <twotower/train/data/delimited.h>
#include <twotower/train/import/id_map.h>
#include <twotower/train/import/import.h>
#include <twotower/train/import/label.h>

#include <string>
#include <vector>

namespace tt {

// Which column plays which role, by name; "" takes the first known alias that is there (user_id, userId,
// ...; a position only from a column of that name).
struct ColumnRoles {
  std::string user, item, time, position;
};
ColumnRoles parse_roles(const std::string& columns);  // "user=userId,item=movieId"; Error "[import --columns] ..."

// The index of the column for `role`, or -1 when it is optional and absent.
int find_column(const std::string& path, const std::vector<HeaderColumn>& header, const std::string& role,
                const std::string& wanted, bool required);

struct InteractionReader {
  Dialect dialect;
  ColumnRoles roles;
  std::vector<LabelRule> labels;    // empty: "action" is always 1
  std::vector<std::string> ranker;  // a column for each task, or empty
  int64_t first_position = 0;       // what the log calls its first slot; -1 stays -1, unknown
  IdMap &users, &items;
  std::vector<std::string>& notes;

  struct Result {
    InteractionColumns rows;
    bool has_time = false;
  };
  Result read(const std::string& path);
};

// Both importers with a header end here: reads, splits, adds the features.
Imported import_tables(const std::string& format, const Dialect& dialect, const ImportOptions& options);

}  // namespace tt
