#include <twotower/tensor/atomic_file.h>
#include <twotower/train/commands/shared/npy.h>

namespace tt {

void write_npy(const std::string& path, Tensor<const float> values) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(values.rows()) + ", " +
                       std::to_string(values.cols()) + "), }";
  const size_t prefix = 10;                                // magic, version, length
  header.append(63 - (prefix + header.size()) % 64, ' ');  // so that the data starts at a multiple of 64
  header += '\n';
  const char start[10] = {'\x93',
                          'N',
                          'U',
                          'M',
                          'P',
                          'Y',
                          1,
                          0,
                          static_cast<char>(header.size() & 0xff),
                          static_cast<char>(header.size() >> 8)};
  AtomicFile file(path);
  file.write(start, prefix);
  file.write(header.data(), header.size());
  file.write(values.data(), static_cast<size_t>(values.numel()) * sizeof(float));
  file.commit();
}

}  // namespace tt
