// Which rows of which tensor of a Hugging Face model each of our tensors is made of. One table, read both ways.
//
// Ours are Megatron's: query, key and value rows by query group in linear_qkv, gate rows before up rows in linear_fc1.
// GPT-2 keeps its matrices transposed (inputs first): there the rows of ours are columns of theirs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ringtron/checkpoint/tensor_slice.h"
#include "ringtron/hugging_face/hf_model.h"

namespace ringtron {

// `rows` rows of the tensor from row `from` on; columns of a transposed one.
struct HfRows {
  std::string tensor;
  std::int64_t from = 0;
  std::int64_t rows = 0;
};

struct HfMapping {
  std::string name;           // ours: "decoder.layers.0.mlp.linear_fc1.weight"
  Shape shape;                // of ours, [rows, columns] or [rows]
  bool transposed = false;    // theirs is [columns, rows]
  std::vector<HfRows> parts;  // in the order of our rows, all of them
};

// `prefix`: of all of their names but lm_head's: "model.", "transformer." or none.
std::vector<HfMapping> hf_mappings(HfFamily family, const ModelConfig& model, std::int64_t vocabulary,
                                   const std::string& prefix);
// With which a family's names begin when transformers saves the whole model.
std::string_view usual_prefix(HfFamily family);

// One of theirs, and the rows of ours it is made of: `ours` counts in the list of mappings.
struct HfSource {
  std::size_t ours = 0;
  std::int64_t our_row = 0, their_row = 0, rows = 0;
};
struct HfTensor {
  Shape shape;                    // as theirs is stored
  std::vector<HfSource> sources;  // by their rows (columns of a transposed one)
};
std::map<std::string, HfTensor> hf_tensors(const std::vector<HfMapping>& mappings);

// Tensors of theirs that hold no weight or the weight of another one, and are passed over.
bool holds_no_weight(std::string_view name, bool is_tied);

}  // namespace ringtron
