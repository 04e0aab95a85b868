#pragma once
// From a trained model and its dataset to the bundle that serves without either.

#include <twotower/models/bundle/writer.h>
#include <twotower/train/batches/training_rows.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/data/fingerprint.h>

#include <string>
#include <vector>

namespace tt {

// Holds what stays the same while the weights change: a trainer writes a bundle whenever it has a better model.
class BundleMaker {
 public:
  // The dataset must outlive it. users = false leaves out all that is known of users.
  BundleMaker(const Dataset& data, const ModelConfig& model, LearntRows learnt, bool users = true);
  BundleMaker(const BundleMaker&) = delete;
  BundleMaker& operator=(const BundleMaker&) = delete;

  // Atomic. Encodes all items.
  void write(const std::string& path, const TwoTower<float>& model, TableType tables = TableType::f32);

 private:
  void read_categories();
  void collect_users(const ModelConfig& model);

  struct CategoryData {
    OwnedIds values;
    std::vector<int64_t> offsets{0};
    std::vector<int32_t> codes;
  };
  const Dataset& data_;
  LearntRows learnt_;
  std::vector<CategoryData> categories_;
  BundleUsers users_;
  std::vector<float> vectors_;
  BundleContent content_;
};

}  // namespace tt
