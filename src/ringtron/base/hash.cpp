#include "ringtron/base/hash.h"

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace ringtron {

std::uint64_t hash64(std::span<const std::byte> bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::uint64_t hash64(std::string_view text, std::uint64_t seed) {
  return XXH3_64bits_withSeed(text.data(), text.size(), seed);
}

struct Hash64::State {
  XXH3_state_t xxh3;
};

Hash64::Hash64() : state_(std::make_unique<State>()) { XXH3_64bits_reset(&state_->xxh3); }
Hash64::~Hash64() = default;

void Hash64::add(std::span<const std::byte> bytes) { XXH3_64bits_update(&state_->xxh3, bytes.data(), bytes.size()); }

std::uint64_t Hash64::value() const { return XXH3_64bits_digest(&state_->xxh3); }

std::string hex64(std::uint64_t value) { return fmt::format("{:016x}", value); }

}  // namespace ringtron
