// Writes a tokenized corpus, PREFIX.bin and PREFIX.idx, that either appears complete or not at all.
//
//   IndexedDatasetWriter writer(prefix, token_type_for_vocab(tokenizer.vocab_size()));
//   for each document { for each sentence writer.add_sequence(tokens); writer.end_document(); }
//   writer.finish();
//
// Everything goes to files aside (base/pending_file.h); finish() syncs them and renames .bin, then .idx, so that
// an index never names tokens that are not there. Without finish() nothing is left, and while one process writes
// a PREFIX no other can. Keeps 4 bytes in memory for each sequence and 8 for each document. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ringtron/base/pending_file.h"
#include "ringtron/data/token_type.h"

namespace ringtron {

class IndexedDatasetWriter {
 public:
  // Throws ConfigError if the files cannot be written, or another process is writing them.
  IndexedDatasetWriter(std::string prefix, TokenType type);
  ~IndexedDatasetWriter();
  IndexedDatasetWriter(const IndexedDatasetWriter&) = delete;
  IndexedDatasetWriter& operator=(const IndexedDatasetWriter&) = delete;

  // Throws ConfigError for a token that the type cannot hold, IoError when the disk is full.
  void add_sequence(std::span<const std::int32_t> tokens);
  void end_document();

  // A sequence that comes in parts: add_part() as often as wanted, then end_sequence().
  void add_part(std::span<const std::int32_t> tokens);
  void end_sequence();

  // Publishes both files; nothing may be added afterwards.
  void finish();

  std::int64_t sequences() const { return static_cast<std::int64_t>(lengths_.size()); }
  std::int64_t documents() const { return static_cast<std::int64_t>(boundaries_.size()) - 1; }
  std::int64_t tokens() const { return tokens_; }

 private:
  void buffer_tokens(std::span<const std::int32_t> tokens);
  void flush();
  void write_index(PendingFile& file) const;

  std::string prefix_;
  TokenType type_;
  std::unique_ptr<PendingFile> bin_, idx_;
  std::vector<std::byte> buffer_;
  std::vector<std::int32_t> lengths_;
  std::vector<std::int64_t> boundaries_{0};
  std::int64_t tokens_ = 0;
  std::int64_t open_length_ = 0;  // tokens of the sequence that is not ended
};

// A name beside `path` that no other process uses, also on a shared file system.
std::string name_aside(const std::string& path);

}  // namespace ringtron
