#define XXH_INLINE_ALL
#include <twotower/models/bundle/fingerprint.h>
#include <xxhash.h>

#include <cstdio>

namespace tt {

struct Fingerprint::State {
  XXH3_state_t hash;
};

Fingerprint::Fingerprint() : state_(std::make_unique<State>()) { XXH3_128bits_reset(&state_->hash); }
Fingerprint::~Fingerprint() = default;

void Fingerprint::add(const void* data, std::size_t bytes) {
  if (bytes > 0) XXH3_128bits_update(&state_->hash, data, bytes);
}

void Fingerprint::add_text(std::string_view text) {
  add_number(static_cast<int64_t>(text.size()));
  add(text.data(), text.size());
}

std::string Fingerprint::text() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(&state_->hash);
  char digits[33];
  std::snprintf(digits, sizeof digits, "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return digits;
}

}  // namespace tt
