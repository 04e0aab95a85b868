#include <sys/mman.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/memory.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace tt {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kFirstArenaBlock = std::size_t{1} << 20;

std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

AlignedBlock::AlignedBlock(std::size_t bytes, bool zeroed) {
  if (bytes == 0) return;
  const bool large = bytes >= 2 * kHugePage;
  const std::size_t unit = large ? kHugePage : kAlignment;
  check<OutOfMemory>(bytes <= SIZE_MAX / 2, "memory", "a block of ", bytes,
                     " bytes cannot be had; the sizes asked for are too large");
  size_ = round_up(bytes, unit);
  data_ = static_cast<std::byte*>(std::aligned_alloc(unit, size_));
  check<OutOfMemory>(data_ != nullptr, "memory", "no memory for a block of ", bytes,
                     " bytes; use smaller tables or batches");
  if (large) (void)madvise(data_, size_, MADV_HUGEPAGE);
  if (zeroed) std::memset(data_, 0, size_);
}

AlignedBlock::~AlignedBlock() { std::free(data_); }

AlignedBlock::AlignedBlock(AlignedBlock&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

AlignedBlock& AlignedBlock::operator=(AlignedBlock&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

std::size_t bytes_of(int64_t n, std::size_t element) {
  check<OutOfMemory>(n >= 0 && static_cast<std::size_t>(n) <= SIZE_MAX / 2 / element, "memory", n, " elements of ",
                     element, " bytes cannot be had; the sizes asked for are too large");
  return static_cast<std::size_t>(n) * element;
}

std::byte* Pool::raw(std::size_t bytes) {
  blocks_.emplace_back(std::max<std::size_t>(bytes, 1));
  bytes_ += blocks_.back().size();
  return blocks_.back().data();
}

std::byte* Arena::raw(std::size_t bytes) {
  bytes = round_up(std::max<std::size_t>(bytes, 1), kAlignment);
  const AlignedBlock* block = overflow_.empty() ? &main_ : &overflow_.back();
  if (bytes > block->size() - offset_) {
    overflow_.emplace_back(std::max(bytes, std::max(kFirstArenaBlock, used_ + bytes)), false);  // doubling
    block = &overflow_.back();
    offset_ = 0;
  }
  used_ += bytes;
  peak_ = std::max(peak_, used_);
  std::byte* p = block->data() + offset_;
  offset_ += bytes;
  return p;
}

void Arena::reset() noexcept {
  ++round_;
  offset_ = 0;
  used_ = 0;
  if (overflow_.empty()) return;
  overflow_.clear();
  main_ = AlignedBlock();
  try {
    main_ = AlignedBlock(peak_, false);
  } catch (...) {  // see the header
  }
}

}  // namespace tt
