// Remembers the ids of recent short words: ordinary text repeats its words, and a look-up costs a tenth of
// merging.
//
// Of fixed size: a new word takes the place of the one that shares its slot. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "ringtron/base/hash.h"

namespace ringtron {

class WordCache {
 public:
  WordCache() : entries_(kEntries) {}

  // The ids of `word`, valid until the next remember(); empty if they are not known.
  std::span<const std::int32_t> find(std::string_view word) const {
    if (word.size() > kMaxBytes) return {};
    const Entry& entry = entries_[slot(word)];
    if (entry.bytes_used != word.size() || std::memcmp(entry.bytes.data(), word.data(), word.size()) != 0) return {};
    return {entry.ids.data(), entry.ids_used};
  }

  // Appends the ids of `word`: the known ones, or those that make() appends to `ids`, which are then remembered.
  template <class Make>
  void append(std::string_view word, std::vector<std::int32_t>& ids, Make&& make) {
    const std::span<const std::int32_t> known = find(word);
    if (!known.empty()) {
      ids.insert(ids.end(), known.begin(), known.end());
      return;
    }
    const std::size_t begin = ids.size();
    make();
    if (ids.size() > begin) remember(word, std::span(ids).subspan(begin));
  }

  // Words of more than kMaxBytes bytes or kMaxIds ids are not worth a place. Requires: neither is empty.
  void remember(std::string_view word, std::span<const std::int32_t> ids) {
    if (word.size() > kMaxBytes || ids.size() > kMaxIds) return;
    Entry& entry = entries_[slot(word)];
    entry.bytes_used = static_cast<std::uint8_t>(word.size());
    entry.ids_used = static_cast<std::uint8_t>(ids.size());
    std::memcpy(entry.bytes.data(), word.data(), word.size());
    std::memcpy(entry.ids.data(), ids.data(), ids.size_bytes());
  }

 private:
  static constexpr std::size_t kEntries = 1 << 15;
  static constexpr std::size_t kMaxBytes = 30;
  static constexpr std::size_t kMaxIds = 8;

  struct alignas(64) Entry {  // one line of the processor's cache
    std::uint8_t bytes_used = 0;
    std::uint8_t ids_used = 0;
    std::array<char, kMaxBytes> bytes;
    std::array<std::int32_t, kMaxIds> ids;
  };

  static std::size_t slot(std::string_view word) { return hash64(word) & (kEntries - 1); }

  std::vector<Entry> entries_;
};

}  // namespace ringtron
