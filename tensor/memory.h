#pragma once
// Two allocators. A Pool holds what lives as long as the model (parameters, optimizer state): aligned, zeroed, freed
// with the pool. An Arena holds what lives for one training step (activations, gradients, the tape): a pointer that
// moves forward, and back to the start at reset().

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tt {

inline constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector register

// An owned, 64-byte aligned block, zeroed unless told otherwise: a large one that nobody has written to yet
// takes no memory. Large ones come straight from the system, on huge pages where it has them: random row
// access to a big embedding table is bound by address translation otherwise.
class AlignedBlock {
 public:
  AlignedBlock() = default;
  explicit AlignedBlock(std::size_t bytes, bool zeroed = true);  // throws Error when the memory is not there
  ~AlignedBlock();
  AlignedBlock(AlignedBlock&& other) noexcept;
  AlignedBlock& operator=(AlignedBlock&& other) noexcept;

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// n elements of so many bytes. Throws Error if n is negative or no memory could hold them.
std::size_t bytes_of(int64_t n, std::size_t element);

class Pool {
 public:
  // n zeroed elements; the pointer stays valid until the pool dies. Throws Error when the memory is not there.
  template <class T>
  T* allocate(int64_t n) {
    return reinterpret_cast<T*>(raw(bytes_of(n, sizeof(T))));
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::byte* raw(std::size_t bytes);
  std::vector<AlignedBlock> blocks_;
  std::size_t bytes_ = 0;
};

class Arena {
 public:
  // n elements, not zeroed; valid until reset(). When the memory is not there it throws Error, and the arena is as
  // before.
  template <class T>
  T* allocate(int64_t n) {
    return reinterpret_cast<T*>(raw(bytes_of(n, sizeof(T))));
  }
  std::byte* raw(std::size_t bytes);

  // Forgets everything handed out. If the last round overflowed the block, one block of the peak size replaces all,
  // so that from the second equal step on nothing is allocated. If that block cannot be had, the arena is left empty
  // and valid, and the next round asks for memory piece by piece: whoever is then refused gets the Error.
  void reset() noexcept;

  uint64_t round() const { return round_; }  // counts resets: what was handed out in another round is gone
  std::size_t peak_bytes() const { return peak_; }
  std::size_t used_bytes() const { return used_; }

 private:
  AlignedBlock main_;
  std::vector<AlignedBlock> overflow_;  // this round's extra blocks; the last one is current
  std::size_t offset_ = 0;              // into the current block
  std::size_t used_ = 0, peak_ = 0;     // bytes since reset, and the most of any round
  uint64_t round_ = 0;
};

}  // namespace tt
