#pragma once
// A batch of an impression log from a safetensors file, in the form that `twotower step` takes: the columns under their
// names, user_history [B, H] padded at the end with -1.

#include <twotower/models/batch.h>
#include <twotower/models/config.h>
#include <twotower/tensor/files/safetensors.h>

#include <string>

namespace tt {

class StepBatch {
 public:
  // Throws Error for a column that is missing, has another shape than the config expects, or holds a number that
  // training could not use.
  StepBatch(const std::string& path, const ModelConfig& config);

  const Batch<float>& batch() const { return batch_; }
  Tensor<const float> corpus(int64_t width) const;  // "corpus" [C, width], or empty

 private:
  Tensor<const float> matrix(const char* name, int64_t rows, int64_t cols);
  void read_history(int64_t b, const ModelConfig& config);

  SafetensorsFile file_;
  Arena arena_;
  Batch<float> batch_;
};

}  // namespace tt
