#include <omp.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/memory.h>
#include <twotower/tensor/parallel.h>

#include <atomic>
#include <exception>
#include <mutex>

namespace tt {
namespace {

std::atomic<int> thread_count{0};  // 0: not set, take OpenMP's own default
thread_local bool serial = false;

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

}  // namespace

int num_threads() {
  const int n = thread_count.load(std::memory_order_relaxed);
  return n > 0 ? n : omp_get_max_threads();
}

void set_num_threads(int n) {
  check(n >= 1, "parallel", "thread count is ", n, "; give at least 1");
  thread_count = n;
  omp_set_num_threads(n);  // oneDNN asks OpenMP
}

int thread_index() { return omp_get_thread_num(); }

SerialScope::SerialScope() : before_(serial) { serial = true; }
SerialScope::~SerialScope() { serial = before_; }

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

void run_chunks(int64_t chunks, ChunkFunction run, void* context) {
  const int64_t threads = chunks < num_threads() ? chunks : num_threads();
  if (threads <= 1 || serial || omp_in_parallel()) {
    for (int64_t c = 0; c < chunks; ++c) run(context, c);
    return;
  }
  std::exception_ptr error;
  int64_t error_chunk = chunks;
  std::atomic<int64_t> next{0};  // a counter of our own: libomp allocates for a dynamic schedule
  std::mutex error_lock;
#pragma omp parallel num_threads(static_cast <int>(threads))
  {
    try {
      match_scratch(omp_get_thread_num() == 0);
    } catch (...) {  // no memory: whoever needs it will say so
    }
    for (int64_t c = next++; c < chunks; c = next++) {
      try {
        run(context, c);
      } catch (...) {
        const std::lock_guard<std::mutex> hold(error_lock);
        if (c < error_chunk) error_chunk = c, error = std::current_exception();
      }
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace detail
}  // namespace tt
