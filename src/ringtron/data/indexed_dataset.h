// Reads a tokenized corpus: PREFIX.bin (tokens back to back) and PREFIX.idx (where each sequence and document
// lies). The bytes are Megatron's, see docs/formats/indexed_dataset.md.
//
// Both files are mapped, not loaded; all ranks of a machine share the pages. The whole index is checked when
// it is opened, so that later reads need no checks. A corpus must not change while it is open; what is cut off reads as
// zeros, and require_whole() throws. Const functions may be called from several threads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ringtron/base/guarded_file.h"
#include "ringtron/data/token_place.h"
#include "ringtron/data/token_type.h"

namespace ringtron {

class IndexedDataset {
 public:
  // `prefix` is the path without ".bin" and ".idx". Throws ConfigError when a file is missing, is not of this
  // format, is cut off, or when the two do not belong together.
  explicit IndexedDataset(std::string prefix);

  const std::string& prefix() const { return prefix_; }
  TokenType token_type() const { return type_; }
  std::int64_t sequences() const { return sequences_; }
  std::int64_t documents() const { return boundaries_ - 1; }
  std::int64_t tokens() const { return tokens_; }

  // In tokens. `sequence` in [0, sequences()).
  std::int32_t sequence_length(std::int64_t sequence) const;

  // First sequence of `document`, in [0, documents()]; at documents() it is sequences().
  std::int64_t document_begin(std::int64_t document) const;

  // The document that holds `sequence`.
  std::int64_t document_of(std::int64_t sequence) const;

  // Copies tokens [first, first + count) of `sequence`, which must lie inside it. A 64-bit token that does
  // not fit becomes -1, which no vocabulary holds.
  void read(std::int64_t sequence, std::int64_t first, std::int64_t count, std::int32_t* out) const;

  // Token `position` of `sequence`, with the document it belongs to.
  TokenPlace place(std::int64_t sequence, std::int64_t position) const;

  // The first token outside [0, vocab_size), if there is one. Reads the whole corpus.
  std::optional<TokenPlace> find_token_outside(std::int64_t vocab_size) const;

  // A fingerprint of the index: equal lengths, boundaries and type give an equal value.
  std::uint64_t index_hash() const;

  // A fingerprint of the tokens: of all of them, or where they are more than `most_bytes`, of so many, in pieces at
  // even distances, the first and the last bytes among them.
  std::uint64_t content_hash(std::size_t most_bytes) const;

  // Throws IoError if a file has become shorter, or could not be read, since it was opened: what was read may be zeros.
  void require_whole() const;

 private:
  void check_header() const;
  void check_sequences();
  void check_documents() const;
  std::int64_t offset(std::int64_t sequence) const;                        // in bytes
  std::int64_t token(std::int64_t sequence, std::int64_t position) const;  // as it is in the file

  std::string prefix_;
  GuardedFile index_;
  GuardedFile data_;
  TokenType type_ = TokenType::u16;
  std::int64_t sequences_ = 0;
  std::int64_t boundaries_ = 0;  // documents + 1
  std::int64_t tokens_ = 0;
};

}  // namespace ringtron
