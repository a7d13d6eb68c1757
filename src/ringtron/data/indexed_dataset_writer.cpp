#include "ringtron/data/indexed_dataset_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <random>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/data/index_format.h"

namespace ringtron {
namespace {

constexpr std::size_t kBufferBytes = 1 << 20;

template <class T>
void append(std::vector<std::byte>& bytes, T value) {
  const std::size_t at = bytes.size();
  bytes.resize(at + sizeof value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

template <class T>
void append_tokens(std::vector<std::byte>& bytes, std::span<const std::int32_t> tokens, TokenType type) {
  std::size_t at = bytes.size();
  bytes.resize(at + tokens.size() * sizeof(T));
  for (const std::int32_t token : tokens) {
    if (!std::in_range<T>(token)) {
      throw ConfigError(
          fmt::format("data: token {} does not fit into {}. Choose the type by the vocabulary size of the "
                      "tokenizer that made the token",
                      token, type_name(type)));
    }
    const T value = static_cast<T>(token);
    std::memcpy(bytes.data() + at, &value, sizeof value);
    at += sizeof value;
  }
}

}  // namespace

std::string name_aside(const std::string& path) {
  std::random_device device;
  const std::uint64_t number = (static_cast<std::uint64_t>(device()) << 32) | device();
  return fmt::format("{}.{}.tmp", path, hex64(number));
}

IndexedDatasetWriter::IndexedDatasetWriter(std::string prefix, TokenType type)
    : prefix_(std::move(prefix)),
      type_(type),
      bin_(std::make_unique<PendingFile>(prefix_ + ".bin")),
      idx_(std::make_unique<PendingFile>(prefix_ + ".idx")) {
  RT_CHECK(is_integer(type), "tokens cannot be written as {}", type_name(type));
}

IndexedDatasetWriter::~IndexedDatasetWriter() = default;

void IndexedDatasetWriter::add_sequence(std::span<const std::int32_t> tokens) {
  add_part(tokens);
  end_sequence();
}

void IndexedDatasetWriter::add_part(std::span<const std::int32_t> tokens) {
  RT_CHECK(bin_ != nullptr, "tokens added after finish()");
  open_length_ += static_cast<std::int64_t>(tokens.size());
  if (open_length_ > std::numeric_limits<std::int32_t>::max()) {
    throw ConfigError(
        fmt::format("data: a sequence of {} tokens is too long for the format (at most 2147483647). Split "
                    "the document",
                    open_length_));
  }
  tokens_ += static_cast<std::int64_t>(tokens.size());
  while (!tokens.empty()) {
    const std::size_t count = std::min(tokens.size(), kBufferBytes);
    buffer_tokens(tokens.first(count));
    tokens = tokens.subspan(count);
    if (buffer_.size() >= kBufferBytes) flush();
  }
}

void IndexedDatasetWriter::buffer_tokens(std::span<const std::int32_t> tokens) {
  switch (type_) {
    case TokenType::u8:
      append_tokens<std::uint8_t>(buffer_, tokens, type_);
      break;
    case TokenType::i8:
      append_tokens<std::int8_t>(buffer_, tokens, type_);
      break;
    case TokenType::i16:
      append_tokens<std::int16_t>(buffer_, tokens, type_);
      break;
    case TokenType::u16:
      append_tokens<std::uint16_t>(buffer_, tokens, type_);
      break;
    case TokenType::i64:
      append_tokens<std::int64_t>(buffer_, tokens, type_);
      break;
    default:
      append_tokens<std::int32_t>(buffer_, tokens, type_);
  }
}

void IndexedDatasetWriter::end_sequence() {
  lengths_.push_back(static_cast<std::int32_t>(std::exchange(open_length_, 0)));
}

void IndexedDatasetWriter::end_document() { boundaries_.push_back(sequences()); }

void IndexedDatasetWriter::flush() {
  bin_->write(buffer_);
  buffer_.clear();
}

void IndexedDatasetWriter::write_index(PendingFile& file) const {
  std::vector<std::byte> bytes;
  const auto put = [&](auto value) {
    append(bytes, value);
    if (bytes.size() >= kBufferBytes) {
      file.write(bytes);
      bytes.clear();
    }
  };
  file.write(index_format::kMagic);
  put(index_format::kVersion);
  put(static_cast<std::uint8_t>(type_));
  put(static_cast<std::uint64_t>(lengths_.size()));
  put(static_cast<std::uint64_t>(boundaries_.size()));
  for (const std::int32_t length : lengths_) put(length);
  std::int64_t offset = 0;
  for (const std::int32_t length : lengths_) {
    put(offset);
    offset += static_cast<std::int64_t>(length) * item_size(type_);
  }
  for (const std::int64_t boundary : boundaries_) put(boundary);
  file.write(bytes);
}

void IndexedDatasetWriter::finish() {
  RT_CHECK(bin_ != nullptr, "finish() called twice");
  RT_CHECK_EQ(boundaries_.back(), sequences(), "sequences at finish(), end_document() missing");
  flush();
  write_index(*idx_);
  bin_->publish();
  idx_->publish();
  bin_.reset();
  idx_.reset();
}

}  // namespace ringtron
