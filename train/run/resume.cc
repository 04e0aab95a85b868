#include <twotower/tensor/error.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/train/data/fingerprint.h>
#include <twotower/train/run/resume.h>
#include <twotower/train/run/run.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace tt {
void check_resumable(const std::string& run, const RunConfig& before, const RunConfig& now, int64_t epochs) {
  const std::string where = "train " + run;
  RunConfig like_now = before;  // but for what may change
  like_now.data = now.data, like_now.rung = now.rung;
  like_now.data_rows = now.data_rows, like_now.data_log = now.data_log;  // the trainer compares those
  like_now.ranker_pairs = now.ranker_pairs;                              // see below
  like_now.train.epochs = now.train.epochs, like_now.train.patience = now.train.patience;
  like_now.train.evaluate_every = now.train.evaluate_every, like_now.train.prefetch = now.train.prefetch;
  like_now.train.alignment_start_epoch = now.train.alignment_start_epoch;
  std::istringstream a(to_toml(like_now)), b(to_toml(now));
  for (std::string line_a, line_b; std::getline(a, line_a) && std::getline(b, line_b);)
    check(line_a == line_b, where, "cannot resume: it was trained with ", line_a, ", this is ", line_b,
          "; give the same options again, or train anew without --resume");

  check(now.train.decay == "none" || now.train.epochs == before.train.epochs, where, "cannot resume: with decay = \"",
        now.train.decay, "\" the learning rates so far were those of ", before.train.epochs, " epochs, this is ",
        now.train.epochs, "; give epochs = ", before.train.epochs, ", or train anew without --resume");
  const int64_t began = before.train.alignment_start_epoch, begins = now.train.alignment_start_epoch;
  check(now.model.alignment == "none" || began == begins || std::min(began, begins) >= epochs, where,
        "cannot resume: alignment began after ", began, " epochs, this would have begun it after ", begins,
        "; set alignment_start_epoch = ", began, ", or train anew without --resume");
}

RankerPairs resumed_ranker_pairs(const std::string& run, const Dataset& data, const RankerPairs& given) {
  const std::string where = "train " + run;
  std::error_code ignored;
  if (!std::filesystem::exists(run + "/state.safetensors", ignored)) return given;
  RunConfig before;
  read_config_file(run + "/config.toml", before);
  const std::string now = pairs_fingerprint(given);
  check(now.empty() || now == before.ranker_pairs, where, "cannot resume: ",
        before.ranker_pairs.empty() ? "it was trained without ranker pairs" : "it was trained with other ranker pairs",
        "; leave --ranker-pairs out, or train anew without --resume");
  return given_ranker_pairs(run, before, data);
}

void keep_metrics(const std::string& path, int64_t epochs) {
  std::ifstream file(path);
  std::string kept;
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (json.is_object() && json.value("epoch", epochs + 1) <= epochs) kept += line + '\n';
  }
  write_file_atomically(path, kept);
}

}  // namespace tt
