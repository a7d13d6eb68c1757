// Writes a tokenized corpus, PREFIX.bin and PREFIX.idx, that either appears complete or not at all.
//
//   IndexedDatasetWriter writer(prefix, token_type_for_vocab(tokenizer.vocab_size()));
//   for each document { for each sentence writer.add_sequence(tokens); writer.end_document(); }
//   writer.finish();
//
// Everything goes to files aside (PREFIX.bin.<random>.tmp); finish() syncs them and renames .bin, then .idx,
// so that an index never names tokens that are not there. Without finish() the destructor removes what lies
// aside. Keeps 4 bytes in memory for each sequence and 8 for each document. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ringtron/base/file.h"
#include "ringtron/data/token_type.h"

namespace ringtron {

class IndexedDatasetWriter {
 public:
  // Throws IoError if the folder of `prefix` cannot be written to.
  IndexedDatasetWriter(std::string prefix, TokenType type);
  ~IndexedDatasetWriter();
  IndexedDatasetWriter(const IndexedDatasetWriter&) = delete;
  IndexedDatasetWriter& operator=(const IndexedDatasetWriter&) = delete;

  // Throws ConfigError for a token that the type cannot hold, IoError when the disk is full.
  void add_sequence(std::span<const std::int32_t> tokens);
  void end_document();

  // Publishes both files; nothing may be added afterwards.
  void finish();

  std::int64_t sequences() const { return static_cast<std::int64_t>(lengths_.size()); }
  std::int64_t documents() const { return static_cast<std::int64_t>(boundaries_.size()) - 1; }
  std::int64_t tokens() const { return tokens_; }

 private:
  void flush();
  void write_index(OutputFile& file) const;

  std::string prefix_;
  TokenType type_;
  std::string bin_aside_;
  std::string idx_aside_;
  std::unique_ptr<OutputFile> bin_;
  std::vector<std::byte> buffer_;
  std::vector<std::int32_t> lengths_;
  std::vector<std::int64_t> boundaries_{0};
  std::int64_t tokens_ = 0;
};

// A name beside `path` that no other process uses, also on a shared file system.
std::string name_aside(const std::string& path);

}  // namespace ringtron
