#include <twotower/tensor/error.h>
#include <twotower/train/commands/shared/options.h>
#include <twotower/train/run/run.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <limits>

namespace tt {

// CLI11's own conversions wrap negative numbers around where unsigned ones are wanted, and cut off what is
// too large.
CLI::Validator whole_number(int64_t low, int64_t high) {
  const std::string range = std::to_string(high) == std::to_string(std::numeric_limits<int64_t>::max())
                                ? ">= " + std::to_string(low)
                                : std::to_string(low) + ".." + std::to_string(high);
  return CLI::Validator(
      [=](std::string& text) {
        int64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error == std::errc() && end == text.data() + text.size() && value >= low && value <= high)
          return std::string();
        return "\"" + text + "\" is not a whole number " + range;
      },
      range);
}

void add_threads(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "Threads to use (default: as many as there are cores)")
      ->check(whole_number(1, 1024));
}

void add_seed(CLI::App& command, uint64_t& seed, const char* of_what) {
  command.add_option("--seed", seed, of_what)
      ->capture_default_str()
      ->check(whole_number(0, std::numeric_limits<int64_t>::max()));
}

std::vector<std::string> read_user_ids(const char* command, const std::string& path) {
  std::ifstream file(path);
  std::error_code ignored;
  check(file.is_open() && !std::filesystem::is_directory(path, ignored), command, "cannot read ", path,
        "; give a file with a user id a line");
  std::vector<std::string> ids;
  bool first = true;
  for (std::string line; std::getline(file, line); first = false) {
    if (first && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) ids.push_back(line);
  }
  check(!ids.empty(), command, path, " holds no user; give a file with a user id a line");
  return ids;
}

std::string BundleSource::path(const char* command) const {
  check(run.empty() != bundle.empty(), command, "give one of --run RUN and --bundle FILE");
  return bundle.empty() ? bundle_of_run(run) : bundle;
}

void add_bundle_source(CLI::App& command, BundleSource& source) {
  command.add_option("--run", source.run, "A run folder, whose bundle is served");
  command.add_option("--bundle", source.bundle, "A bundle: a file that training or `twotower pack` made");
}

}  // namespace tt
