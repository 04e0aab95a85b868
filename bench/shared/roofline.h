#pragma once
// What this machine can do, measured now: the floor under every other figure.

namespace tt::bench {

struct Roofline {
  double gflops;      // float multiply-adds, counted twice, on the active instruction set
  double read_gbs;    // DRAM, bytes read a second
  double copy_gbs;    // DRAM, bytes read plus bytes written a second
  double update_gbs;  // the same for an update in place of two arrays
};

// On `threads` threads (they become the process's thread count); takes about half a second.
Roofline measure_roofline(int threads);

// Seconds that `flops` and `bytes` of DRAM traffic need at least, at the best of the three rates, if they overlap.
double floor_seconds(const Roofline& r, double flops, double bytes);

}  // namespace tt::bench
