// The texts under some keys of one line of JSON, read as Python's json.loads reads it, so that a corpus has the
// documents here that it has in Megatron-LM:
//
//   of a key that comes twice the last value counts; NaN, Infinity, -Infinity and numbers of any length are numbers;
//   a \ud83d without its other half is a character (U+FFFD here, since no UTF-8 can hold it).
//
// More forgiving than Python in two ways: nesting may be as deep as the line is long, and a byte order mark before the
// object is passed over. What stands under other keys is checked, but never kept.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringtron {

// Keeps its buffers from line to line. Not thread-safe.
class JsonLine {
 public:
  explicit JsonLine(std::vector<std::string> keys);

  // False if the line is no JSON object, lacks a key, or holds neither text nor a list of texts under one; then fault()
  // says so, and no text is there.
  bool read(std::string_view line);
  const std::string& fault() const { return fault_; }

  // The text under key number `key`; several for a list. Valid until the next read().
  std::span<const std::string> texts(std::size_t key) const { return {found_[key].texts.data(), found_[key].count}; }

  // Whether the texts under key number `key` are a list, be it of one. The line must still be there.
  bool is_list(std::size_t key) const { return found_[key].value.starts_with('['); }

  // Halves of surrogate pairs in the texts of the last line.
  std::int64_t lone_surrogates() const { return lone_surrogates_; }

 private:
  struct Found {
    std::string_view value;  // as it stands in the line; empty if the key is missing
    std::vector<std::string> texts;
    std::size_t count = 0;
  };
  void note(std::string_view written_key, std::string_view value);
  void take(Found& found, const std::string& key);

  const std::vector<std::string> keys_;
  std::vector<Found> found_;
  std::vector<char> open_;  // brackets around the place of the scanner
  std::string key_;
  std::string fault_;
  std::int64_t lone_surrogates_ = 0;
};

// The line for a user in whose texts there were so many.
std::string describe_lone_surrogates(std::int64_t count);

}  // namespace ringtron
