// Byte positions in an .idx file (little endian), for its reader and its writer. See
// docs/formats/indexed_dataset.md.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

namespace ringtron::index_format {

static_assert(std::endian::native == std::endian::little, "the files are little endian and are mapped as they are");

inline constexpr std::string_view kMagic("MMIDIDX\0\0", 9);
inline constexpr std::uint64_t kVersion = 1;

inline constexpr std::int64_t kVersionAt = 9;
inline constexpr std::int64_t kTypeAt = 17;
inline constexpr std::int64_t kSequencesAt = 18;
inline constexpr std::int64_t kBoundariesAt = 26;
inline constexpr std::int64_t kHeaderBytes = 34;

constexpr std::int64_t lengths_at() { return kHeaderBytes; }
constexpr std::int64_t offsets_at(std::int64_t sequences) { return kHeaderBytes + 4 * sequences; }
constexpr std::int64_t boundaries_at(std::int64_t sequences) { return kHeaderBytes + 12 * sequences; }

}  // namespace ringtron::index_format
