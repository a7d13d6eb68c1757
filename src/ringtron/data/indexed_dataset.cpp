#include "ringtron/data/indexed_dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/data/corpus_files.h"
#include "ringtron/data/index_format.h"

namespace ringtron {
namespace {

// The arrays of an .idx file start at byte 34, so nothing in it is aligned.
template <class T>
T load(std::span<const std::byte> bytes, std::int64_t position) {
  T value;
  std::memcpy(&value, bytes.data() + position, sizeof value);
  return value;
}

template <class T>
void copy_as_int32(const std::byte* from, std::int64_t count, std::int32_t* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
    out[i] = std::in_range<std::int32_t>(value) ? static_cast<std::int32_t>(value) : -1;
  }
}

}  // namespace

IndexedDataset::IndexedDataset(std::string prefix)
    : prefix_(std::move(prefix)), index_(corpus_file(prefix_, ".idx")), data_(corpus_file(prefix_, ".bin")) {
  check_header();
  type_ = static_cast<TokenType>(load<std::uint8_t>(index_.bytes(), index_format::kTypeAt));
  sequences_ = load<std::int64_t>(index_.bytes(), index_format::kSequencesAt);
  boundaries_ = load<std::int64_t>(index_.bytes(), index_format::kBoundariesAt);
  check_sequences();
  check_documents();
}

void IndexedDataset::check_header() const {
  using namespace index_format;
  const auto bytes = index_.bytes();
  const std::string path = prefix_ + ".idx";
  if (bytes.size() < kMagic.size() || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    throw ConfigError(
        fmt::format("data: bad header, cannot read: {}. Expected the first 9 bytes \"MMIDIDX\\0\\0\"; the "
                    "file is not an index of "
                    "tokens, or was written by something else. Make it with preprocess_data",
                    path));
  }
  if (bytes.size() < static_cast<std::size_t>(kHeaderBytes)) {
    throw ConfigError(
        fmt::format("data: {} is cut off: expected at least {} bytes, got {}. Copy it again, or make it "
                    "again with preprocess_data",
                    path, kHeaderBytes, bytes.size()));
  }
  const auto version = load<std::uint64_t>(bytes, kVersionAt);
  if (version != kVersion) {
    throw ConfigError(
        fmt::format("data: bad version, cannot read: {}. Expected version {}, got {}. Make it again with "
                    "preprocess_data",
                    path, kVersion, version));
  }
  const auto type = static_cast<TokenType>(load<std::uint8_t>(bytes, kTypeAt));
  if (!is_integer(type)) {
    throw ConfigError(
        fmt::format("data: {} holds {} (type code {}); expected an integer type of tokens (codes 1-5, 8). "
                    "Make it again with preprocess_data",
                    path, type_name(type), static_cast<int>(type)));
  }
  const auto sequences = load<std::uint64_t>(bytes, kSequencesAt);
  const auto boundaries = load<std::uint64_t>(bytes, kBoundariesAt);
  // Guards the arithmetic below: no real index has 2^50 entries.
  const bool sane = sequences < (1ull << 50) && boundaries < (1ull << 50);
  const std::uint64_t expected = sane ? kHeaderBytes + 12 * sequences + 8 * boundaries : 0;
  const bool with_modes = sane && bytes.size() == expected + sequences;  // multimodal corpora end with these
  if (!sane || (bytes.size() != expected && !with_modes)) {
    throw ConfigError(
        fmt::format("data: {} has the wrong length: its header names {} sequences and {} document "
                    "boundaries, that is {} bytes; got "
                    "{}. It is cut off or damaged: copy it again, or make it again with preprocess_data",
                    path, sequences, boundaries, sane ? fmt::to_string(expected) : "too many", bytes.size()));
  }
}

void IndexedDataset::check_sequences() {
  const std::int64_t item = item_size(type_);
  const std::int64_t in_file = static_cast<std::int64_t>(data_.bytes().size());
  for (std::int64_t s = 0; s < sequences_; ++s) {
    const std::int64_t length = sequence_length(s);
    if (length < 0 || offset(s) != tokens_ * item) {
      throw ConfigError(
          fmt::format("data: {}.idx is damaged: sequence {} has length {} and byte offset {}; expected a "
                      "length of at least 0 and "
                      "offset {}, the end of the one before. Make it again with preprocess_data",
                      prefix_, s, length, offset(s), tokens_ * item));
    }
    tokens_ += length;
  }
  if (tokens_ * item != in_file) {
    throw ConfigError(
        fmt::format("data: {0}.bin and {0}.idx do not belong together: the index names {1} tokens of {2}, "
                    "that is {3} bytes; the "
                    ".bin has {4}. {5}, or make both again with preprocess_data",
                    prefix_, tokens_, type_name(type_), tokens_ * item, in_file,
                    in_file < tokens_ * item ? "The .bin is cut off: copy it again" : "Copy both again"));
  }
}

void IndexedDataset::check_documents() const {
  std::int64_t before = 0;
  for (std::int64_t d = 0; d < boundaries_; ++d) {
    const std::int64_t begin = document_begin(d);
    const bool first_is_zero = d > 0 || begin == 0;
    const bool last_is_end = d + 1 < boundaries_ || begin == sequences_;
    if (!first_is_zero || !last_is_end || begin < before || begin > sequences_) {
      throw ConfigError(
          fmt::format("data: {}.idx is damaged: document boundary {} of {} is sequence {}; boundaries must "
                      "rise from 0 to {}. Make "
                      "it again with preprocess_data",
                      prefix_, d, boundaries_, begin, sequences_));
    }
    before = begin;
  }
  if (boundaries_ == 0) {
    throw ConfigError(
        fmt::format("data: {}.idx has no document boundaries; expected at least 1. Make it again with "
                    "preprocess_data",
                    prefix_));
  }
}

std::int32_t IndexedDataset::sequence_length(std::int64_t sequence) const {
  return load<std::int32_t>(index_.bytes(), index_format::lengths_at() + 4 * sequence);
}

std::int64_t IndexedDataset::offset(std::int64_t sequence) const {
  return load<std::int64_t>(index_.bytes(), index_format::offsets_at(sequences_) + 8 * sequence);
}

std::int64_t IndexedDataset::document_begin(std::int64_t document) const {
  return load<std::int64_t>(index_.bytes(), index_format::boundaries_at(sequences_) + 8 * document);
}

std::int64_t IndexedDataset::document_of(std::int64_t sequence) const {
  // The last boundary that is not above `sequence`: empty documents share a boundary with the next one.
  std::int64_t low = 0, high = documents();
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (document_begin(middle) <= sequence ? low : high) = middle;
  }
  return low;
}

void IndexedDataset::read(std::int64_t sequence, std::int64_t first, std::int64_t count, std::int32_t* out) const {
  RT_CHECK(
      sequence >= 0 && sequence < sequences_ && first >= 0 && count >= 0 && first + count <= sequence_length(sequence),
      "tokens [{}, {}) of sequence {} of {}", first, first + count, sequence, prefix_);
  const std::byte* from = data_.bytes().data() + offset(sequence) + first * item_size(type_);
  switch (type_) {
    case TokenType::u8:
      return copy_as_int32<std::uint8_t>(from, count, out);
    case TokenType::i8:
      return copy_as_int32<std::int8_t>(from, count, out);
    case TokenType::i16:
      return copy_as_int32<std::int16_t>(from, count, out);
    case TokenType::u16:
      return copy_as_int32<std::uint16_t>(from, count, out);
    case TokenType::i32:
      return copy_as_int32<std::int32_t>(from, count, out);
    case TokenType::i64:
      return copy_as_int32<std::int64_t>(from, count, out);
    case TokenType::f32:
    case TokenType::f64:
      break;
  }
  RT_CHECK(false, "type {} passed check_header()", type_name(type_));
}

TokenPlace IndexedDataset::place(std::int64_t sequence, std::int64_t position) const {
  TokenPlace place;
  place.prefix = prefix_;
  place.document = document_of(sequence);
  place.position = position;
  for (std::int64_t s = document_begin(place.document); s < sequence; ++s) place.position += sequence_length(s);
  place.token = token(sequence, position);
  return place;
}

std::int64_t IndexedDataset::token(std::int64_t sequence, std::int64_t position) const {
  std::int32_t narrow = 0;
  read(sequence, position, 1, &narrow);
  // Only the widest type holds more than what read() gives.
  return type_ == TokenType::i64 ? load<std::int64_t>(data_.bytes(), offset(sequence) + 8 * position) : narrow;
}

std::optional<TokenPlace> IndexedDataset::find_token_outside(std::int64_t vocab_size) const {
  std::vector<std::int32_t> buffer;
  for (std::int64_t s = 0; s < sequences_; ++s) {
    buffer.resize(static_cast<std::size_t>(sequence_length(s)));
    read(s, 0, sequence_length(s), buffer.data());
    const auto bad =
        std::find_if(buffer.begin(), buffer.end(), [&](std::int32_t t) { return t < 0 || t >= vocab_size; });
    if (bad != buffer.end()) return place(s, bad - buffer.begin());
  }
  return std::nullopt;
}

std::uint64_t IndexedDataset::index_hash() const { return hash64(index_.bytes()); }

std::uint64_t IndexedDataset::content_hash(std::size_t most_bytes) const {
  const auto bytes = data_.bytes();
  if (bytes.size() <= most_bytes) return hash64(bytes);
  constexpr std::size_t kPiece = 64 * 1024;
  const std::size_t pieces = std::max<std::size_t>(2, most_bytes / kPiece);
  const std::size_t piece = std::min(kPiece, bytes.size());
  std::uint64_t hash = bytes.size();
  for (std::size_t i = 0; i < pieces; ++i) {
    // Rising from 0 to the last whole piece; 128 bits keep the product exact.
    const auto begin =
        static_cast<std::size_t>(static_cast<unsigned __int128>(bytes.size() - piece) * i / (pieces - 1));
    hash = hash64(bytes.subspan(begin, piece), hash);
  }
  return hash;
}

void IndexedDataset::require_whole() const {
  data_.require_whole();
  index_.require_whole();
}

void fail_token_outside(const TokenPlace& place, std::int64_t vocab_size) {
  const std::string one_more = place.token == vocab_size
                                   ? fmt::format(
                                         ". (Up to version 0.16 Megatron-LM's NullTokenizer ends documents with the id "
                                         "--vocab-size itself: for such data give --vocab-size {})",
                                         vocab_size + 1)
                                   : "";
  throw ConfigError(
      fmt::format("data: token {} at position {} of document {} of {} is outside the vocabulary: expected 0 "
                  "to {}. The data was "
                  "made with another tokenizer: give its vocabulary, or run preprocess_data again{}",
                  place.token, place.position, place.document, place.prefix, vocab_size - 1, one_more));
}

}  // namespace ringtron
