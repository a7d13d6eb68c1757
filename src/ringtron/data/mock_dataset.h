// Made-up samples for --mock-data: no files, deterministic, and learnable. Not Megatron's mock data (that
// needs NumPy's PCG64): here each sample is a row of short documents of many lengths, each counting upwards
// from a random token by 1, 2 or 3, wrapping around below the end-of-document token, which ends it. A model
// that has seen two tokens can tell the next.
#pragma once

#include "ringtron/data/dataset.h"

namespace ringtron {

class MockDataset : public Dataset {
 public:
  // Throws ConfigError for a vocabulary of fewer than 2 ids. Ids are in [0, vocab_size); vocab_size - 1 ends
  // documents: one in each stretch of block_length() tokens, anywhere in it, so that documents have 1 to
  // 2 block_length() - 1 tokens.
  MockDataset(std::int64_t size, std::int64_t sequence_length, std::int64_t vocab_size, std::uint64_t seed);

  std::int64_t size() const override { return size_; }
  std::int64_t sequence_length() const override { return sequence_length_; }
  void read(std::int64_t sample, std::int64_t first, std::int64_t count, std::int32_t* out) const override;
  TokenPlace locate(std::int64_t sample, std::int64_t position) const override;

  // A quarter of the sequence, at least 2 and at most 64: short sequences hold several documents too.
  std::int64_t block_length() const { return block_length_; }

 private:
  // The end of the document that ends in stretch number `block`.
  std::int64_t end_in(std::int64_t sample, std::int64_t block) const;

  std::int64_t size_;
  std::int64_t sequence_length_;
  std::int64_t vocab_size_;
  std::uint64_t seed_;
  std::int64_t block_length_;
};

}  // namespace ringtron
