#include <pthread.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/memory.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/tensor/threads/team.h>

#include <atomic>
#include <exception>
#include <mutex>

namespace tt {
namespace {

std::atomic<int> process_threads{0};  // 0: not set
thread_local int scope_threads = 0;   // 0: no scope

// A team's threads do not survive fork(), but GCC's OpenMP in the child still waits for them, for ever. A child
// therefore opens no team. The handler is in place before main, since the dead workers may be those of the host.
std::atomic<bool> forked{false};
[[maybe_unused]] const int fork_handler =
    pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });

constexpr int kScratchSlots = 8;
thread_local AlignedBlock scratch[kScratchSlots];
std::atomic<std::size_t> scratch_size[kScratchSlots];  // the most that any thread has needed

// Gives a thread of the team the scratch that others have found necessary, so that which thread happens to take which
// chunk does not decide when memory is allocated. Slots in use by the thread that opened the region are left alone.
void match_scratch(bool opener) {
  for (int slot = 0; slot < kScratchSlots; ++slot) {
    const std::size_t size = scratch_size[slot].load(std::memory_order_relaxed);
    if (scratch[slot].size() >= size || (opener && scratch[slot].size() > 0)) continue;
    scratch[slot] = AlignedBlock();
    scratch[slot] = AlignedBlock(size, false);
  }
}

void check_count(int n) { check(n >= 1, "parallel", "thread count is ", n, "; give at least 1"); }

}  // namespace

int num_threads() {
  if (detail::after_fork() || detail::inside_team()) return 1;
  if (scope_threads > 0) return scope_threads;
  const int n = process_threads.load(std::memory_order_relaxed);
  return n > 0 ? n : detail::default_threads();
}

void set_num_threads(int n) {
  check_count(n);
  process_threads.store(n, std::memory_order_relaxed);
}

ThreadScope::ThreadScope(int n) : before_(scope_threads) {
  check_count(n);
  scope_threads = n;
}
ThreadScope::~ThreadScope() { scope_threads = before_; }

OpenMpThreads::OpenMpThreads() : before_(detail::openmp_threads()) {
  if (const int n = num_threads(); n != before_) detail::set_openmp_threads(n);  // this thread's setting alone
}
OpenMpThreads::~OpenMpThreads() {
  if (detail::openmp_threads() != before_) detail::set_openmp_threads(before_);
}

void* thread_scratch(int slot, std::size_t bytes) {
  AlignedBlock& block = scratch[slot];
  if (block.size() < bytes) {
    block = AlignedBlock();  // release first: the old content is not needed
    block = AlignedBlock(bytes + bytes / 2, false);
    std::size_t most = scratch_size[slot].load(std::memory_order_relaxed);
    while (most < block.size() && !scratch_size[slot].compare_exchange_weak(most, block.size())) {
    }
  }
  return block.data();
}

namespace detail {

bool after_fork() { return forked.load(std::memory_order_relaxed); }

namespace {

// One parallel_for: the threads of a team take its chunks one after the other.
struct Region {
  int64_t chunks;
  ChunkFunction run;
  void* context;
  std::atomic<int64_t> next{0};  // a counter of our own: libomp allocates for a dynamic schedule
  std::mutex error_lock;
  std::exception_ptr error;
  int64_t error_chunk;

  void work(int worker) {
    try {
      match_scratch(worker == 0);
    } catch (...) {  // no memory: whoever needs it will say so
    }
    for (int64_t c = next++; c < chunks; c = next++) {
      try {
        run(context, c, worker);
      } catch (...) {
        const std::lock_guard<std::mutex> hold(error_lock);
        if (c < error_chunk) error_chunk = c, error = std::current_exception();
      }
    }
  }
};

}  // namespace

void run_chunks(int64_t chunks, ChunkFunction run, void* context) {
  // Always the whole team, though chunks may be fewer: GCC's runtime ends the threads that a smaller team does not
  // need, and with them their scratch, and the next region starts them anew.
  const int threads = chunks > 1 ? num_threads() : 1;
  if (threads == 1) {
    for (int64_t c = 0; c < chunks; ++c) run(context, c, 0);
    return;
  }
  Region region{.chunks = chunks, .run = run, .context = context, .error_lock = {}, .error = {}, .error_chunk = chunks};
  run_team(
      threads, [](void* r, int worker) { static_cast<Region*>(r)->work(worker); }, &region);
  if (region.error) std::rethrow_exception(region.error);
}

}  // namespace detail
}  // namespace tt
