#include <twotower/train/commands/shared/console.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

namespace tt {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

ProgressLine::ProgressLine(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1) {}

void ProgressLine::show(const TrainProgress& p) {
  if (quiet_) return;
  const double t = now();
  const double done = static_cast<double>(p.epoch - 1) + static_cast<double>(p.batch) / static_cast<double>(p.batches);
  const double left = time_left_(t, done, static_cast<double>(p.epochs));
  const bool due = t - last_ >= (terminal_ ? 0.1 : 15);
  if (last_ == 0 && !terminal_) last_ = t;
  if (!due) return;
  last_ = t;
  char line[200];
  const int n = std::snprintf(line, sizeof line, "epoch %ld/%ld  batch %ld/%ld  loss %.4f  %.0f examples/s",
                              static_cast<long>(p.epoch), static_cast<long>(p.epochs), static_cast<long>(p.batch),
                              static_cast<long>(p.batches), p.loss, p.examples_per_second);
  std::string text(line, static_cast<size_t>(std::max(n, 0)));
  if (!std::isnan(left)) {
    std::snprintf(line, sizeof line, "  at most %.0f s left", std::ceil(left));
    text += line;
  }
  if (terminal_) {
    std::fprintf(stderr, "\r%s%*s", text.c_str(), static_cast<int>(drawn_ > text.size() ? drawn_ - text.size() : 0),
                 "");
    drawn_ = text.size();
  } else {
    std::fprintf(stderr, "%s\n", text.c_str());
  }
  std::fflush(stderr);
}

void ProgressLine::message(const std::string& line) {
  if (quiet_) return;
  if (drawn_ > 0) std::fprintf(stderr, "\r%*s\r", static_cast<int>(drawn_), "");
  drawn_ = 0;
  std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace tt
