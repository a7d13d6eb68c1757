// A configuration that something can be built from: every value that follows from others is filled in, the
// vocabulary is known and padded, the number of ranks is settled.
//
// A Config is what was asked for, by a command line or a program. Functions that need more than that take a
// ResolvedConfig.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ringtron/config/config.h"
#include "ringtron/config/notice.h"

namespace ringtron {

// Immutable. Valid, unless its maker said despite_faults().
class ResolvedConfig {
 public:
  const Config* operator->() const { return &values_; }
  operator const Config&() const { return values_; }  // for whoever asks for no more than a Config

  int world_size() const { return world_size_; }
  int data_parallel_size() const;  // 0, with faults only: the layout does not divide the world

 private:
  friend class Resolution;
  ResolvedConfig(Config values, int world_size) : values_(std::move(values)), world_size_(world_size) {}

  Config values_;
  int world_size_;
};

// What resolve() found: the only maker of a ResolvedConfig.
class Resolution {
 public:
  // Throws ConfigError that lists all faults, if there are any.
  ResolvedConfig valid() const;
  // For programs that report faults themselves and still say what they can, and for what-if sums. Of a faulty
  // configuration some derived values may be 0.
  ResolvedConfig despite_faults() const { return {values_, world_size_}; }

  const std::vector<std::string>& faults() const { return faults_; }  // as validate() says them
  const std::vector<Notice>& notices() const { return notices_; }     // what was changed that the user may not expect

 private:
  friend Resolution resolve(const Config& config, int world_size, std::int64_t vocabulary,
                            std::span<const std::string> already_reported);
  Resolution() = default;

  Config values_;
  int world_size_ = 1;
  std::vector<std::string> faults_;
  std::vector<Notice> notices_;
};

// Checks `config` for a run of `world_size` ranks (validate.h), fills in what follows from what it says, and
// completes it with the tokenizer's `vocabulary` and its padding (0: not known, a fault). `already_reported`
// as for validate(). Pure.
Resolution resolve(const Config& config, int world_size, std::int64_t vocabulary,
                   std::span<const std::string> already_reported = {});

// Rows of the embedding: `vocab_size` rounded up to a multiple of `divisible_by` * `tensor_parallel_size`, so
// that all ranks hold equally many. Throws ConfigError unless all three are positive.
std::int64_t pad_vocab_size(std::int64_t vocab_size, std::int64_t divisible_by, std::int64_t tensor_parallel_size);

}  // namespace ringtron
