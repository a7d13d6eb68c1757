// A dataset: sample number -> s + 1 tokens, a pure function. Inputs are the first s of them, labels the last
// s.
//
// Const functions may be called from several threads.
#pragma once

#include <cstdint>
#include <vector>

#include "ringtron/data/token_place.h"

namespace ringtron {

class Dataset {
 public:
  virtual ~Dataset() = default;

  // Number of samples.
  virtual std::int64_t size() const = 0;

  // s: a sample has sequence_length() + 1 tokens.
  virtual std::int64_t sequence_length() const = 0;

  // Copies tokens [first, first + count) of `sample` to `out`. Reads from disk only what is asked for, so
  // that a context-parallel rank touches only its own chunks. sample in [0, size()), first + count <=
  // sequence_length() + 1.
  virtual void read(std::int64_t sample, std::int64_t first, std::int64_t count, std::int32_t* out) const = 0;

  // Where token `position` of `sample` comes from, for messages. What a program makes itself has no other name.
  virtual TokenPlace locate(std::int64_t sample, std::int64_t position) const {
    std::int32_t token = 0;
    read(sample, position, 1, &token);
    return {"the program's own dataset", sample, position, token};
  }

  // All tokens of `sample`.
  std::vector<std::int32_t> sample(std::int64_t number) const {
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(sequence_length() + 1));
    read(number, 0, sequence_length() + 1, tokens.data());
    return tokens;
  }
};

}  // namespace ringtron
