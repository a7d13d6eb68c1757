// Command lines that several tests of config/ start from.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "ringtron/base/text.h"

namespace ringtron {

// The user's first example, word for word: TP 4, CP 2 on 8 ranks.
inline std::vector<std::string> example_1() {
  return split(
      "--tensor-model-parallel-size 4 --pipeline-model-parallel-size 1 --context-parallel-size 2 "
      "--cp-comm-type p2p "
      "--sequence-parallel --num-layers 32 --hidden-size 4096 --num-attention-heads 32 --ffn-hidden-size "
      "13696 "
      "--seq-length 8192 --max-position-embeddings 8192 --micro-batch-size 1 --global-batch-size 64 "
      "--train-iters 500000 --lr 1.0e-4 --min-lr 1.0e-5 --lr-decay-style cosine --weight-decay 0.1 "
      "--clip-grad 1.0 "
      "--adam-beta1 0.9 --adam-beta2 0.95 --init-method-std 0.01 --bf16 --no-load-optim --no-load-rng "
      "--save /path/to/checkpoints --load /path/to/checkpoints --tensorboard-dir /path/to/tensorboard "
      "--log-interval 1 --eval-interval 1000 --save-interval 2000 --eval-iters 10 --split 99,1,0 "
      "--data-path /path/to/data/gpt2_text_document --vocab-file /path/to/gpt2/vocab.json "
      "--merge-file /path/to/gpt2/merges.txt",
      ' ');
}

inline constexpr int kExample1Ranks = 8;

// `flags` (blank-separated) behind the example: of a flag given twice the last counts.
inline std::vector<std::string> example_1_with(const std::string& flags) {
  std::vector<std::string> words = example_1();
  if (flags.empty()) return words;
  for (std::string& word : split(flags, ' ')) words.push_back(std::move(word));
  return words;
}

// The example without `flags` (blank-separated) and their values.
inline std::vector<std::string> example_1_without(const std::string& flags) {
  const std::vector<std::string> left_out = split(flags, ' ');
  std::vector<std::string> words;
  bool skipping = false;
  for (std::string& word : example_1()) {
    if (word.rfind("--", 0) == 0) skipping = std::find(left_out.begin(), left_out.end(), word) != left_out.end();
    if (!skipping) words.push_back(std::move(word));
  }
  return words;
}

}  // namespace ringtron
