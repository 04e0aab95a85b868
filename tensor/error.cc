#include <twotower/tensor/error.h>
#include <twotower/tensor/one_line.h>

namespace tt {

void throw_error(std::string_view where, const std::string& message) {
  throw Error(one_line("[" + std::string(where) + "] " + message));
}

}  // namespace tt
