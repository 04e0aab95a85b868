#include <twotower/tensor/atomic_file.h>
#include <twotower/tensor/error.h>
#include <twotower/train/fit/resume.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace tt {
namespace {

// 64 bits of what was added, in order; to tell data apart that differ by accident, not by design.
class Mark {
 public:
  void add(const void* data, size_t bytes) {
    const auto* at = static_cast<const char*>(data);
    number(bytes);
    for (; bytes >= 8; at += 8, bytes -= 8) {
      uint64_t word;
      std::memcpy(&word, at, 8);
      number(word);
    }
    uint64_t word = 0;
    std::memcpy(&word, at, bytes);
    number(word);
  }
  void number(uint64_t word) {
    state_ = (state_ ^ word) * 0x9e3779b97f4a7c15ull;
    state_ ^= state_ >> 29;
  }
  void texts(const std::vector<std::string>& list) {
    number(list.size());
    for (const std::string& text : list) add(text.data(), text.size());
  }
  void ids(const IdTable& table) {
    number(static_cast<uint64_t>(table.size()));
    for (int64_t i = 0; i < table.size(); ++i) add(table.text(i).data(), table.text(i).size());
  }
  template <class T>
  void column(const T* values, int64_t n) {
    if (values) add(values, static_cast<size_t>(n) * sizeof(T));
  }
  std::string text() const {
    std::ostringstream out;
    out << std::hex << state_;
    return out.str();
  }

 private:
  uint64_t state_ = 0;
};

}  // namespace

std::string data_mark(const Dataset& data) {
  Mark mark;
  mark.ids(data.user_ids()), mark.ids(data.item_ids());
  mark.texts(data.tasks()), mark.texts(data.user_columns()), mark.texts(data.item_columns());
  mark.column(data.user_features(), data.num_users() * data.user_features_size());
  mark.column(data.item_features(), data.num_items() * data.item_features_size());
  const Impressions& log = data.split(Split::train);
  mark.column(log.user, log.size), mark.column(log.item, log.size), mark.column(log.position, log.size);
  mark.column(log.history_end, log.size), mark.column(log.labels, log.size * data.num_tasks());
  mark.column(log.ranker_scores, log.size * data.num_tasks());
  mark.column(data.history_offsets(), data.num_users() + 1);
  mark.column(data.history_items(), data.history_offsets()[data.num_users()]);
  return mark.text();
}

void check_resumable(const std::string& run, const RunConfig& before, const RunConfig& now, int64_t epochs) {
  const std::string where = "train " + run;
  RunConfig like_now = before;  // but for what may change
  like_now.data = now.data, like_now.rung = now.rung;
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
