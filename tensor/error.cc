#include <twotower/tensor/error.h>

namespace tt {

std::string error_text(std::string_view where, const std::string& message) {
  return one_line("[" + std::string(where) + "] " + message);
}

}  // namespace tt
