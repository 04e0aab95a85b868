// Teams of OpenMP's threads, which a host program and oneDNN share with us.

#include <omp.h>
#include <twotower/tensor/threads/team.h>

namespace tt::detail {

void run_team(int threads, void (*work)(void* context, int worker), void* context) {
#pragma omp parallel num_threads(threads)
  work(context, omp_get_thread_num());
}

bool inside_team() { return omp_in_parallel() != 0; }
int default_threads() { return omp_get_max_threads(); }
int openmp_threads() { return omp_get_max_threads(); }
void set_openmp_threads(int n) { omp_set_num_threads(n); }

}  // namespace tt::detail
