#pragma once
// The threads below parallel_for. One of two files is built: team_openmp.cc, the one place with OpenMP, or
// team_threads.cc (-Dopenmp=disabled), with threads of the standard library.

namespace tt::detail {

// Calls work(context, w) for w = 0 and, each on a thread of its own, for at most w = 1 .. threads-1; the caller's is 0.
// Returns when all have returned. The threads stay for the caller's next team and end with it. work throws nothing.
void run_team(int threads, void (*work)(void* context, int worker), void* context);

bool inside_team();     // this thread works for a team, of ours or (with OpenMP in the process) of the host's
int default_threads();  // OMP_NUM_THREADS or the host's own setting of it, else the machine's cores
bool after_fork();      // this process has lost the threads of the one that made it (parallel.cc)

// How many threads a library that uses OpenMP would take if the calling thread called it now. Without OpenMP in the
// process they are 1 and nothing.
int openmp_threads();
void set_openmp_threads(int n);

}  // namespace tt::detail
