// A byte-level BPE vocabulary in memory, and the two files that hold it on disk, as GPT-2 published them:
//
//   vocab.json   {"token": id, ...}, tokens written in the byte alphabet (byte_to_unicode.h)
//   merges.txt   "#version: 0.2", then one "left right" per line, the most important merge first
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace ringtron {

inline constexpr const char kEndOfText[] = "<|endoftext|>";

struct BpeMerge {
  std::int32_t left, right, result;  // ids; the bytes of `result` are those of `left`, then those of `right`
};

struct BpeModel {
  std::vector<std::string> tokens;       // the bytes of each id
  std::vector<BpeMerge> merges;          // in order of rank
  std::vector<std::int32_t> id_of_byte;  // 256 entries: the id of each single byte
  std::int32_t end_of_text = 0;
};

// Throws ConfigError: a file that is missing, not in its format, or not a partner of the other (a merge whose
// parts or result the vocabulary lacks, tokens that no merge makes); a merge that comes twice; ids other than 0..V-1;
// no token for some byte; no <|endoftext|>.
BpeModel read_gpt2_vocab_files(const std::filesystem::path& vocab_file, const std::filesystem::path& merge_file);

struct Gpt2Texts {
  std::string vocabulary;  // of vocab.json
  std::string merges;      // of merges.txt
};
Gpt2Texts gpt2_texts(const BpeModel& model);

// Each file is replaced as a whole. Throws IoError.
void write_gpt2_vocab_files(const BpeModel& model, const std::filesystem::path& vocab_file,
                            const std::filesystem::path& merge_file);

}  // namespace ringtron
