#include <twotower/train/step/step_batch.h>

#include <cmath>

namespace tt {

StepBatch::StepBatch(const std::string& path, const ModelConfig& config) : file_(SafetensorsFile::open(path)) {
  const std::vector<int64_t>& shape = file_.entry("user_id").shape;
  check(shape.size() == 1 && shape[0] > 0, "step " + path, "user_id has shape ", shape_text(shape),
        "; it must be [B] with B >= 1");
  const int64_t b = shape[0], tasks = config.num_tasks();
  batch_.user.id = {file_.data<int64_t>("user_id", {b}), {b}};
  batch_.item.id = {file_.data<int64_t>("item_id", {b}), {b}};
  batch_.user.features = matrix("user_features", b, config.user_features_size);
  batch_.item.features = matrix("item_features", b, config.item_features_size);
  batch_.labels = matrix("labels", b, tasks);
  for (const float label : batch_.labels)
    check(label >= 0 && label <= 1, "step " + path, "labels hold ", label, "; they must lie in [0, 1]");
  if (config.debias_position()) batch_.position = {file_.data<int32_t>("position", {b}), {b}};
  for (const int32_t position : batch_.position)
    check(position >= -1, "step " + path, "position holds ", position,
          "; slots count from 0, and -1 is an unknown one");
  if (file_.has("ranker_scores")) batch_.ranker_scores = matrix("ranker_scores", b, tasks);
  check(!config.needs_ranker_scores() || batch_.ranker_scores, "step " + path,
        "the model learns from \"ranker_scores\", which the file does not hold");
  if (file_.has("log_q") && config.log_q != "none") {
    batch_.candidates.log_q = {file_.data<float>("log_q", {b}), {b}};
    for (const float log_q : batch_.candidates.log_q)
      check(std::isfinite(log_q), "step " + path, "log_q holds ", log_q, "; values must be finite");
    batch_.candidates.positive_uncorrected = !config.log_q_correct_positive;
  }
  batch_.candidates.hard_negatives = config.hard_negatives;
  if (config.history) read_history(b, config);
  if (config.mask_accidental_hits)
    batch_.candidates.exclude =
        accidental_hits(batch_.user.id, batch_.item.id, acted_on(batch_.labels, arena_), {}, arena_);
}

Tensor<const float> StepBatch::corpus(int64_t width) const {
  if (!file_.has("corpus")) return {};
  const std::vector<int64_t>& shape = file_.entry("corpus").shape;
  return {file_.data<float>("corpus", {-1, width}), {shape[0], width}};
}

Tensor<const float> StepBatch::matrix(const char* name, int64_t rows, int64_t cols) {
  if (cols == 0) return {};
  const float* data = file_.data<float>(name, {rows, cols});
  for (int64_t i = 0; i < rows * cols; ++i)
    check(std::isfinite(data[i]), "step " + file_.path(), name, " holds ", data[i], " in row ", i / cols,
          "; values must be finite");
  return {data, {rows, cols}};
}

void StepBatch::read_history(int64_t b, const ModelConfig& config) {
  const std::vector<int64_t>& shape = file_.entry("user_history").shape;
  const int64_t* padded = file_.data<int64_t>("user_history", {b, -1});
  const int64_t width = shape[1], kinds = config.history_actions;
  const uint8_t* flags = kinds > 0 ? file_.data<uint8_t>("history_actions", {b, width, kinds}) : nullptr;
  const Tensor<int64_t> offsets = make_tensor<int64_t>(arena_, {b + 1});
  const Tensor<int64_t> items = make_tensor<int64_t>(arena_, {b * width});
  const Tensor<uint8_t> actions = make_tensor<uint8_t>(arena_, {b * width, kinds});
  int64_t n = 0;
  for (int64_t i = 0; i < b; ++i) {
    offsets[i] = n;
    for (int64_t j = 0; j < width; ++j) {
      if (padded[i * width + j] < 0 || n - offsets[i] == config.user_history_seqlen) continue;
      std::copy_n(flags + (i * width + j) * kinds, kinds, actions.data() + n * kinds);
      items[n++] = padded[i * width + j];
    }
  }
  offsets[b] = n;
  batch_.user.history_offsets = offsets;
  batch_.user.history_items = {items.data(), {n}};
  if (kinds > 0) batch_.user.history_actions = {actions.data(), {n, kinds}};
}

}  // namespace tt
