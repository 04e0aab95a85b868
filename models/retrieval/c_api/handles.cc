#include <pthread.h>
#include <twotower/models/retrieval/c_api/handles.h>
#include <twotower/tensor/error.h>

#include <atomic>
#include <memory>
#include <mutex>

namespace tt::c_api::detail {
namespace {

// A handle, from its highest bit: 12 that no address of user space has, 4 of kind, 24 that count the handles of its
// place, 24 of place.
constexpr uint64_t kMark = 0x747, kPlaceBits = 24, kCountBits = 24, kChunkBits = 12;
constexpr uint64_t kPlaces = uint64_t{1} << kPlaceBits, kChunk = uint64_t{1} << kChunkBits;
constexpr uint64_t kCountMask = (uint64_t{1} << kCountBits) - 1;

struct Place {
  std::atomic<uint64_t> handle{0};  // 0: free
  void* object = nullptr;
  uint64_t count = 0, next_free = 0;
};

// Places are never given back, so that looking one up needs no lock. The first are static: a library that is unloaded
// leaves nothing behind unless it had thousands of handles at a time.
constinit Place first_chunk[kChunk];
std::atomic<Place*> chunks[kPlaces / kChunk];  // those after the first
uint64_t used = 0, first_free = kPlaces;
std::mutex lock;

// A child of fork() opens and closes handles, too: no thread that is gone may hold the lock there.
[[maybe_unused]] const int fork_handler =
    pthread_atfork([] { lock.lock(); }, [] { lock.unlock(); }, [] { lock.unlock(); });

Place* place_at(uint64_t at) noexcept {
  Place* chunk = at < kChunk ? first_chunk : chunks[at >> kChunkBits].load(std::memory_order_acquire);
  return chunk ? chunk + (at & (kChunk - 1)) : nullptr;
}

Place* place_of(Kind kind, const void* handle) noexcept {
  const auto value = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(handle));
  if (value >> (kPlaceBits + kCountBits) != (kMark << 4 | static_cast<uint64_t>(kind))) return nullptr;
  Place* place = place_at(value & (kPlaces - 1));
  return place && place->handle.load(std::memory_order_acquire) == value ? place : nullptr;
}

}  // namespace

void* open(Kind kind, void* object) {
  const std::lock_guard<std::mutex> hold(lock);
  uint64_t at = first_free;
  if (at == kPlaces) {
    check<OutOfMemory>(used < kPlaces, "handles", kPlaces, " handles are open; close some");
    std::atomic<Place*>& chunk = chunks[used >> kChunkBits];
    if (used >= kChunk && !chunk.load(std::memory_order_relaxed))
      chunk.store(new Place[kChunk], std::memory_order_release);
    at = used++;
  }
  Place& place = *place_at(at);
  if (at == first_free) first_free = place.next_free;
  place.object = object;
  place.count = (place.count + 1) & kCountMask;
  const uint64_t value =
      (kMark << 4 | static_cast<uint64_t>(kind)) << (kPlaceBits + kCountBits) | place.count << kPlaceBits | at;
  place.handle.store(value, std::memory_order_release);
  return reinterpret_cast<void*>(static_cast<uintptr_t>(value));
}

void* find(Kind kind, const void* handle) noexcept {
  const Place* place = place_of(kind, handle);
  return place ? place->object : nullptr;
}

void* close(Kind kind, const void* handle) noexcept {
  const std::lock_guard<std::mutex> hold(lock);
  Place* place = place_of(kind, handle);
  if (!place) return nullptr;
  place->handle.store(0, std::memory_order_release);
  place->next_free = first_free;
  first_free = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(handle)) & (kPlaces - 1);
  return place->object;
}

}  // namespace tt::c_api::detail
