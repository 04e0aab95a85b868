#pragma once
// Medians and spreads, and what the operating system says of this process.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

namespace tt::bench {

struct Spread {
  double median, p10, p90;
};

inline Spread spread(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  const auto at = [&](double q) { return x[static_cast<size_t>(q * static_cast<double>(x.size() - 1) + 0.5)]; };
  return {at(0.5), at(0.1), at(0.9)};
}

// Milliseconds that f() takes.
template <class F>
double timed_ms(F&& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

// A line of what Linux says of this process's memory, in MiB; 0 where it is not known.
inline double memory_mib(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind(key, 0) == 0) return std::stod(line.substr(key.size())) / 1024;
  return 0;
}
inline double held_memory_mib() { return memory_mib("VmRSS:"); }
// The most since the last reset.
inline double peak_memory_mib() { return memory_mib("VmHWM:"); }
inline void reset_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace tt::bench
