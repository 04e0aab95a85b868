// Teams of the standard library's threads, for programs without an OpenMP runtime. Each thread that opens teams owns
// its workers, as with OpenMP; they sleep between teams.

#include <twotower/tensor/threads/team.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

// There if something else in the process brings them: oneDNN or the host program. Their settings are then respected.
extern "C" {
[[gnu::weak]] int omp_get_max_threads();
[[gnu::weak]] int omp_in_parallel();
[[gnu::weak]] void omp_set_num_threads(int n);
}

namespace tt::detail {
namespace {

thread_local bool inside = false;
thread_local bool over = false;  // this thread is ending, and its workers have ended

// Teams follow each other within microseconds while a model trains: a thread looks for its next work this often before
// it sleeps.
constexpr int kLooks = 2000;

void wait_while(const std::atomic<int>& state, int value) {
  for (int look = 0; look < kLooks; ++look)
    if (state.load(std::memory_order_acquire) != value) return;
  state.wait(value, std::memory_order_acquire);
}

class Workers {
 public:
  ~Workers() {
    over = true;
    for (std::unique_ptr<Worker>& worker : workers_) {
      if (after_fork()) {  // its thread is not in this process and cannot be joined
        worker.release();
        continue;
      }
      worker->set(kEnd);
      worker->thread.join();
    }
  }

  void run(int threads, void (*work)(void* context, int worker), void* context) {
    const int others = grow_to(threads - 1);
    work_ = work, context_ = context;
    busy_.store(others, std::memory_order_relaxed);
    for (int w = 0; w < others; ++w) workers_[static_cast<size_t>(w)]->set(kWork);
    inside = true;
    work(context, 0);
    inside = false;
    for (int busy; (busy = busy_.load(std::memory_order_acquire)) > 0;) wait_while(busy_, busy);
  }

 private:
  enum State { kIdle, kWork, kEnd };

  struct Worker {
    std::atomic<int> state{kIdle};
    std::thread thread;

    void set(State next) {
      state.store(next, std::memory_order_release);
      state.notify_one();
    }
  };

  // Fewer where the system gives no more: whoever is there does all of the work.
  int grow_to(int wanted) {
    workers_.reserve(static_cast<size_t>(wanted));
    while (static_cast<int>(workers_.size()) < wanted) {
      auto worker = std::make_unique<Worker>();
      const int number = static_cast<int>(workers_.size()) + 1;
      try {
        worker->thread = std::thread([this, number, self = worker.get()] { serve(*self, number); });
      } catch (const std::system_error&) {
        break;
      }
      workers_.push_back(std::move(worker));
    }
    return std::min(wanted, static_cast<int>(workers_.size()));
  }

  void serve(Worker& self, int number) {
    inside = true;
    for (;;) {
      wait_while(self.state, kIdle);
      if (self.state.load(std::memory_order_acquire) == kEnd) return;
      self.state.store(kIdle, std::memory_order_relaxed);  // before busy_, so that the next work is not lost
      work_(context_, number);
      if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
    }
  }

  std::vector<std::unique_ptr<Worker>> workers_;
  void (*work_)(void*, int) = nullptr;
  void* context_ = nullptr;
  std::atomic<int> busy_{0};
};

thread_local Workers workers;

}  // namespace

void run_team(int threads, void (*work)(void* context, int worker), void* context) {
  if (over) return work(context, 0);
  workers.run(threads, work, context);
}

bool inside_team() { return inside || (omp_in_parallel != nullptr && omp_in_parallel() != 0); }

int default_threads() {
  if (omp_get_max_threads != nullptr) return omp_get_max_threads();
  static const int count = [] {
    const char* text = std::getenv("OMP_NUM_THREADS");
    const int asked = text == nullptr ? 0 : std::atoi(text);
    return asked > 0 ? asked : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }();
  return count;
}

int openmp_threads() { return omp_get_max_threads != nullptr ? omp_get_max_threads() : 1; }
void set_openmp_threads(int n) {
  if (omp_set_num_threads != nullptr) omp_set_num_threads(n);
}

}  // namespace tt::detail
