#include "ringtron/hugging_face/hf_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <system_error>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/base/text.h"
#include "ringtron/checkpoint/strict_json.h"
#include "ringtron/hugging_face/transpose.h"

namespace ringtron {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIndexName = "model.safetensors.index.json";

std::vector<std::string> safetensors_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.ends_with(".safetensors")) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

// The shards that the index names, each with the first tensor that it is to have.
std::map<std::string, std::string> indexed_shards(const fs::path& index) {
  try {
    std::map<std::string, std::string> shards;
    const nlohmann::json json = parse_strict(read_file(index));
    const auto& map = object_member(json, "weight_map", "");
    for (const auto& [tensor, file] : map.items()) {
      const std::string name = text_member(map, tensor.c_str(), "weight_map");
      if (name.find('/') != std::string::npos || name.empty() || name.starts_with("."))
        throw IoError(fmt::format("weight_map.{}: expected the name of a file, got {}", tensor, shown(file)));
      shards.emplace(name, tensor);
    }
    return shards;
  } catch (const IoError& e) {
    throw IoError(fmt::format("{}: {}", index.string(), e.what()));
  }
}

bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16 || dtype == DType::f64;
}

// Rows [first, first + rows) and columns [column, column + columns) of a matrix of `width` columns.
struct Block {
  std::int64_t first = 0, rows = 0, column = 0, columns = 0, width = 0;
};

void copy_rows(std::span<const std::byte> from, const Block& block, std::size_t element, std::byte* to) {
  const auto bytes = [&](std::int64_t elements) { return static_cast<std::size_t>(elements) * element; };
  if (block.columns == block.width) {
    std::memcpy(to, from.data() + bytes(block.first * block.width), bytes(block.rows * block.width));
    return;
  }
  for (std::int64_t row = 0; row < block.rows; ++row) {
    std::memcpy(to + bytes(row * block.columns), from.data() + bytes((block.first + row) * block.width + block.column),
                bytes(block.columns));
  }
}

}  // namespace

bool is_hf_folder(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / "config.json", ignored) &&
         (fs::exists(folder / kIndexName, ignored) || !safetensors_in(folder).empty());
}

HfFolder::HfFolder(fs::path folder) : folder_(std::move(folder)), model_(read_hf_config(folder_)) {
  open_shards();
  const bool is_gpt2 = model_.family == HfFamily::gpt2;
  std::string prefix(usual_prefix(model_.family));
  const std::string embedding = is_gpt2 ? "wte.weight" : "embed_tokens.weight";
  if (!places_.contains(prefix + embedding) && places_.contains(embedding)) prefix.clear();
  // Before a list is made of layers that are not there.
  const std::string number = fmt::format("{}", model_.config.model.num_layers - 1);
  const std::string last =
      prefix + (is_gpt2 ? "h." + number + ".ln_1.weight" : "layers." + number + ".input_layernorm.weight");
  if (!places_.contains(last)) refuse({fmt::format("{} is missing", last)});
  mappings_ = hf_mappings(model_.family, model_.config.model, model_.vocabulary, prefix);
  for (std::size_t i = 0; i < mappings_.size(); ++i) numbers_[mappings_[i].name] = i;
  check_tensors();
}

void HfFolder::open_shards() {
  std::error_code ignored;
  std::map<std::string, std::string> names;
  if (fs::exists(folder_ / kIndexName, ignored)) {
    names = indexed_shards(folder_ / kIndexName);
  } else {
    for (const std::string& name : safetensors_in(folder_)) names[name];
  }
  if (names.empty()) {
    throw IoError(
        fmt::format("{} has no safetensors. Weights in another form are written as safetensors by "
                    "save_pretrained of transformers",
                    folder_.string()));
  }
  for (const auto& [name, tensor] : names) {
    const fs::path path = folder_ / name;
    if (!fs::exists(path, ignored)) {
      throw IoError(fmt::format("{} is missing: {} says that it holds {}. Download it", path.string(), kIndexName,
                                excerpt(tensor, 200)));
    }
    MappedFile file(path);
    SafetensorsLayout layout = parse_safetensors(file.bytes(), path);
    const Shard& shard = shards_.emplace(name, Shard{std::move(file), std::move(layout)}).first->second;
    for (const auto& [key, entry] : shard.layout.entries) {
      if (!places_.emplace(key, Place{&shard, &entry}).second)
        throw IoError(fmt::format("{}: the tensor {} stands in another shard too", path.string(), excerpt(key, 200)));
    }
  }
}

void HfFolder::refuse(std::vector<std::string> faults) const {
  constexpr std::size_t kShown = 8;
  const std::size_t more = faults.size() > kShown ? faults.size() - kShown : 0;
  faults.resize(faults.size() - more);
  throw IoError(fmt::format("{}: the tensors are not those that config.json describes: {}{}", folder_.string(),
                            join(faults, "; "), more > 0 ? fmt::format("; and {} more", more) : ""));
}

void HfFolder::check_tensors() const {
  std::vector<std::string> faults;
  const auto wanted = hf_tensors(mappings_);
  for (const auto& [name, tensor] : wanted) {
    const auto found = places_.find(name);
    if (found == places_.end()) {
      faults.push_back(fmt::format("{} is missing", name));
    } else if (const SafetensorsEntry& entry = *found->second.entry; entry.shape != tensor.shape) {
      faults.push_back(fmt::format("{} has shape {}, by config.json it has {}", name, to_string(entry.shape),
                                   to_string(tensor.shape)));
    } else if (!is_float(entry.dtype)) {
      faults.push_back(fmt::format("{} is of type {}, expected BF16, F16, F32 or F64", name, name_of(entry.dtype)));
    }
  }
  const bool is_tied = !model_.config.model.untie_embeddings_and_output_weights;
  for (const auto& [name, place] : places_) {
    if (!wanted.contains(name) && !holds_no_weight(name, is_tied))
      faults.push_back(
          fmt::format("{} {} has no place in this model", excerpt(name, 200), to_string(place.entry->shape)));
  }
  if (faults.empty()) {
    for (const HfMapping& mapping : mappings_) {
      for (const HfRows& part : mapping.parts) {
        if (place(part.tensor).entry->dtype != dtype(mapping))
          faults.push_back(fmt::format("{} and {} are of two types", mapping.parts.front().tensor, part.tensor));
      }
    }
  }
  if (!faults.empty()) refuse(std::move(faults));
}

const HfMapping* HfFolder::find(const std::string& name) const {
  const auto found = numbers_.find(name);
  return found == numbers_.end() ? nullptr : &mappings_[found->second];
}

DType HfFolder::dtype(const HfMapping& tensor) const { return place(tensor.parts.front().tensor).entry->dtype; }

void HfFolder::read_slice(const HfMapping& tensor, const Slab& slab, std::span<std::byte> out) const {
  const auto problem = slab_problem(tensor.shape, slab);
  RT_CHECK(!problem, "reading {}: {}", tensor.name, problem.value_or(""));
  const std::size_t element = size_of(dtype(tensor));
  RT_CHECK_EQ(static_cast<std::size_t>(slab_elements(tensor.shape, slab)) * element, out.size(),
              "bytes to read of " + tensor.name);
  const std::int64_t all_columns = tensor.shape.size() == 2 ? tensor.shape[1] : 1;
  const bool by_rows = slab.dim == 0;
  const std::int64_t first = by_rows ? slab.offset : 0, last = by_rows ? first + slab.length : tensor.shape[0];
  const std::int64_t column = by_rows ? 0 : slab.offset, columns = by_rows ? all_columns : slab.length;
  std::int64_t at = 0;  // our row at which the part begins
  for (const HfRows& part : tensor.parts) {
    const std::int64_t begin = std::max(first, at), end = std::min(last, at + part.rows);
    const std::int64_t theirs = part.from + begin - at;
    at += part.rows;
    if (begin >= end) continue;
    const std::span<const std::byte> from = place(part.tensor).bytes();
    std::byte* const to = out.data() + static_cast<std::size_t>((begin - first) * columns) * element;
    if (!tensor.transposed) {
      copy_rows(from, {theirs, end - begin, column, columns, all_columns}, element, to);
      continue;
    }
    const std::int64_t width = place(part.tensor).entry->shape[1];
    const auto skipped = static_cast<std::size_t>(column * width + theirs) * element;
    transpose_block(from.subspan(skipped), width, {to, static_cast<std::size_t>((end - begin) * columns) * element},
                    columns, element);
  }
}

void HfFolder::release(const HfMapping& tensor) const {
  for (const HfRows& part : tensor.parts) {
    const Place& theirs = place(part.tensor);
    theirs.shard->file.release(theirs.bytes());
  }
}

std::string HfFolder::fingerprint() const {
  std::string text = hex64(hash64(read_file(folder_ / "config.json")));
  for (const auto& [name, shard] : shards_) {
    const auto bytes = shard.file.bytes();
    text += fmt::format(" {} {} {}", name, bytes.size(), hex64(hash64(bytes.first(shard.layout.data_begin))));
  }
  return text;
}

}  // namespace ringtron
