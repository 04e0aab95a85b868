#pragma once
// A trained model as one file that stands alone: open it and serve. Opening maps the file and looks only at what tells
// whether its parts belong together, so it takes as long for a large file as for a small one; verify() reads all of it.
// Tables that are packed in 8 or 16 bits (packed_table.h) are unpacked into memory when the file is opened.
//
//   const Bundle bundle = Bundle::open("bundle.safetensors");
//   const Recommender recommender(bundle);    // models/retrieval/recommender.h

#include <twotower/models/bundle/writer.h>
#include <twotower/tensor/files/safetensors.h>

#include <memory>
#include <optional>
#include <span>

namespace tt {

class Bundle {
 public:
  // Throws Error "[bundle FILE] ...", one line with its mend, for a file that is no bundle, of another version, with
  // parts that are missing or do not fit each other, and for item vectors that were made with other weights
  // or an index that was built from others.
  static Bundle open(const std::string& path);
  // The same from a file's bytes, which must neither change nor go away as long as the bundle lives.
  static Bundle view(const void* data, std::size_t bytes, const std::string& name = "in memory");
  // Whether a safetensors file says that it is a bundle.
  static bool is_bundle(const SafetensorsFile& file);

  // Reads everything: each value must be the one that was written, each row and offset in range. Error as open().
  void verify() const;

  const std::string& path() const { return file_.path(); }
  const TwoTower<float>& model() const { return *model_; }
  const ModelConfig& config() const { return model_->config(); }
  const DataFacts& data() const { return data_; }
  const FeatureEncoder& user_encoder() const { return user_encoder_; }
  const FeatureEncoder& item_encoder() const { return item_encoder_; }
  const std::string& weights_fingerprint() const;
  const SafetensorsFile& file() const { return file_; }
  // What it says of the index over its item vectors, a JSON object that models/retrieval/index/stored_index.h reads; ""
  // where it has none.
  const std::string& index_facts() const { return index_facts_; }

  int64_t num_items() const { return items_.ids.size(); }
  const IdTable& item_ids() const { return items_.ids; }
  Tensor<const float> item_vectors() const { return items_.vectors; }  // [C, DI]
  std::span<const uint8_t> learnt_items() const;                       // [C]
  std::span<const uint8_t> available_items() const;                    // [C], 0: not on offer; empty: all are
  std::span<const uint8_t> removed_items() const;                      // [C], 1: only the row is left; empty: none
  const std::vector<Category>& categories() const { return items_.categories; }
  const Category* category(std::string_view name) const;  // null if there is none
  const Category* title() const;  // the column that names an item for people; null if there is none

  bool has_users() const { return users_.present; }
  int64_t num_users() const { return users_.ids.size(); }
  const IdTable& user_ids() const { return users_.ids; }
  std::span<const uint8_t> learnt_users() const;              // [U]
  std::span<const float> user_features(int64_t user) const;   // [IU]; empty where the model reads none
  std::span<const int32_t> user_history(int64_t user) const;  // item rows, oldest first; empty without a history
  std::span<const uint8_t> user_history_actions(int64_t user) const;  // [history, A], or empty
  std::span<const int32_t> seen(int64_t user) const;                  // item rows, ascending

 private:
  struct Lists {  // a list of rows a user
    const int64_t* offsets = nullptr;
    const int32_t* items = nullptr;
    int64_t count = 0;
  };
  struct Users {
    bool present = false;
    IdTable ids;
    const uint8_t* learnt = nullptr;
    const float* features = nullptr;
    Lists history, seen;
    const uint8_t* actions = nullptr;
  };

  std::string where() const { return "bundle " + path(); }
  void read();
  void read_metadata();
  void read_model();
  void read_items();
  void read_index();
  void read_users();
  IdTable texts(const std::string& prefix, int64_t rows) const;
  Lists lists(const std::string& name, int64_t rows) const;
  void check_user(int64_t user) const;
  std::span<const int32_t> list(const Lists& lists, int64_t user, const char* name) const;
  void verify_lists(const Lists& lists, const char* name) const;
  template <class T>
  const T* tensor(const std::string& name, const std::vector<int64_t>& shape) const;
  const float* floats(const std::string& name, const std::vector<int64_t>& shape);

  SafetensorsFile file_;
  std::vector<std::unique_ptr<float[]>> unpacked_;  // tables that the file holds in fewer bits
  ModelConfig config_;
  std::unique_ptr<TwoTower<float>> model_;
  DataFacts data_;
  std::string title_, index_facts_;
  FeatureEncoder user_encoder_, item_encoder_;
  BundleItems items_;
  Users users_;
};

}  // namespace tt
