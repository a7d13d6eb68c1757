#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/checkpoint_reader.h"
#include "ringtron/checkpoint/file_system.h"
#include "ringtron/checkpoint/load_folder.h"
#include "ringtron/checkpoint/strict_json.h"
#include "ringtron/hugging_face/convert.h"
#include "ringtron/hugging_face/hf_tensors.h"
#include "ringtron/hugging_face/transpose.h"

namespace ringtron {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kBlockBytes = std::int64_t{16} << 20;
constexpr const char* kEmbedding = "model.embedding.word_embeddings.weight";

fs::path checkpoint_of(const fs::path& load, std::int64_t iteration) {
  if (iteration > 0) return find_checkpoint_of(load, iteration).folder;
  const auto search = search_load_folder(load, {});
  if (!search) throw IoError(fmt::format("--load {}: there is no checkpoint", load.string()));
  return search->newest->folder;
}

// The flags that the model of a checkpoint was made with.
ModelConfig model_of(const CheckpointReader& reader) {
  try {
    return read_stored_config(object_member(reader.metadata(), "configuration", "metadata")).config.model;
  } catch (const IoError& e) {
    throw IoError(fmt::format("{}: {}", (reader.folder() / kManifestName).string(), e.what()));
  }
}

// One tensor of theirs to be written.
struct Output {
  std::string name;
  const HfTensor* tensor = nullptr;
  std::uint64_t bytes = 0;
};

// The tensors of one file.
struct OutputShard {
  std::vector<Output> tensors;
  std::uint64_t bytes = 0;
};

class Export {
 public:
  Export(const fs::path& checkpoint, const ConvertProgress& progress)
      : reader_(checkpoint), model_(model_of(reader_)), family_(family_of(model_)), progress_(progress) {
    const TensorEntry& embedding = reader_.tensor(kEmbedding);
    dtype_ = embedding.dtype;
    vocabulary_ = rows_along(embedding.shape, 0);
    mappings_ = hf_mappings(family_, model_, vocabulary_, std::string(usual_prefix(family_)));
    tensors_ = hf_tensors(mappings_);
    require_tensors();
  }

  ConvertSummary write(const fs::path& to, std::uint64_t shard_bytes) {
    const std::vector<OutputShard> shards = split(shard_bytes);
    nlohmann::ordered_json weight_map = nlohmann::ordered_json::object();
    for (std::size_t i = 0; i < shards.size(); ++i) {
      const std::string name = shards.size() == 1
                                   ? std::string("model.safetensors")
                                   : fmt::format("model-{:05d}-of-{:05d}.safetensors", i + 1, shards.size());
      write_file(to / name, shards[i]);
      for (const Output& output : shards[i].tensors) weight_map[output.name] = name;
    }
    if (shards.size() > 1) {
      const nlohmann::ordered_json index = {{"metadata", {{"total_size", total_}}}, {"weight_map", weight_map}};
      write_file_atomically(to / "model.safetensors.index.json", index.dump(2) + "\n");
    }
    write_file_atomically(to / "config.json", hf_config_of(model_, vocabulary_, dtype_).dump(2) + "\n");
    ConvertSummary summary;
    summary.model_type = model_type_of(family_);
    summary.layers = model_.num_layers;
    summary.tensors = static_cast<std::int64_t>(tensors_.size());
    for (const HfMapping& mapping : mappings_) summary.parameters += element_count(mapping.shape).value_or(0);
    summary.bytes = total_;
    summary.folder = to;
    return summary;
  }

 private:
  // Those of the model, in their shapes, and no others.
  void require_tensors() const {
    std::size_t of_model = 0;
    for (const auto& [name, entry] : reader_.manifest().tensors) of_model += name.starts_with("model.") ? 1 : 0;
    for (const HfMapping& mapping : mappings_) {
      const TensorEntry& entry = reader_.tensor("model." + mapping.name);
      if (entry.shape == mapping.shape && entry.dtype == reader_.tensor("model." + mappings_.front().name).dtype)
        continue;
      throw IoError(fmt::format("{}: {} is {} {}, by the checkpoint's flags it is {} {}", reader_.folder().string(),
                                mapping.name, name_of(entry.dtype), to_string(entry.shape), name_of(dtype_),
                                to_string(mapping.shape)));
    }
    if (of_model != mappings_.size()) {
      throw IoError(fmt::format("{}: expected the {} tensors of this model, got {}", reader_.folder().string(),
                                mappings_.size(), of_model));
    }
  }

  // In the order of the model.
  std::vector<OutputShard> split(std::uint64_t shard_bytes) {
    std::vector<OutputShard> shards(1);
    std::map<std::string, bool> taken;
    for (const HfMapping& mapping : mappings_) {
      for (const HfRows& part : mapping.parts) {
        if (std::exchange(taken[part.tensor], true)) continue;
        const HfTensor& tensor = tensors_.at(part.tensor);
        const std::uint64_t bytes =
            static_cast<std::uint64_t>(element_count(tensor.shape).value_or(0)) * size_of(dtype_);
        if (shards.back().bytes > 0 && shards.back().bytes + bytes > shard_bytes) shards.emplace_back();
        shards.back().tensors.push_back({part.tensor, &tensor, bytes});
        shards.back().bytes += bytes;
        total_ += bytes;
      }
    }
    return shards;
  }

  void write_file(const fs::path& path, const OutputShard& shard) {
    std::vector<SafetensorsEntry> entries;
    std::uint64_t at = 0;
    for (const Output& output : shard.tensors) {
      entries.push_back({output.name, dtype_, output.tensor->shape, at, at + output.bytes});
      at += output.bytes;
    }
    OutputFile file(path);
    file.write(std::string_view(safetensors_header(entries)));
    for (const Output& output : shard.tensors) write_tensor(*output.tensor, file);
    file.sync();
    file.close();
  }

  void write_tensor(const HfTensor& tensor, OutputFile& file) {
    if (mappings_[tensor.sources.front().ours].transposed) return write_transposed(tensor, file);
    for (const HfSource& source : tensor.sources) {
      const HfMapping& ours = mappings_[source.ours];
      const std::int64_t columns = ours.shape.size() == 2 ? ours.shape[1] : 1;
      const std::int64_t row_bytes = columns * static_cast<std::int64_t>(size_of(dtype_));
      const std::int64_t most = std::clamp<std::int64_t>(kBlockBytes / row_bytes, 1, source.rows);
      for (std::int64_t row = 0; row < source.rows; row += most) {
        const std::int64_t count = std::min(most, source.rows - row);
        block_.resize(static_cast<std::size_t>(count * row_bytes));
        reader_.read_slice("model." + ours.name, {0, source.our_row + row, count}, block_);
        put(block_, file);
      }
    }
    reader_.release("model." + mappings_[tensor.sources.front().ours].name);
  }

  // Our rows in the order of their columns, and then rows for columns.
  void write_transposed(const HfTensor& tensor, OutputFile& file) {
    const std::int64_t columns = tensor.shape[0], rows = tensor.shape[1];
    const std::size_t element = size_of(dtype_);
    std::vector<std::byte> ordered(static_cast<std::size_t>(rows * columns) * element);
    const std::string name = "model." + mappings_[tensor.sources.front().ours].name;
    for (const HfSource& source : tensor.sources) {
      reader_.read_slice(name, {0, source.our_row, source.rows},
                         std::span(ordered).subspan(static_cast<std::size_t>(source.their_row * columns) * element,
                                                    static_cast<std::size_t>(source.rows * columns) * element));
    }
    block_.resize(ordered.size());
    transpose_block(ordered, columns, block_, rows, element);
    put(block_, file);
    reader_.release(name);
  }

  void put(std::span<const std::byte> bytes, OutputFile& file) {
    file.write(bytes);
    done_ += bytes.size();
    progress_(done_, total_);
  }

  CheckpointReader reader_;
  ModelConfig model_;
  HfFamily family_;
  const ConvertProgress& progress_;
  DType dtype_ = DType::f32;
  std::int64_t vocabulary_ = 0;
  std::vector<HfMapping> mappings_;
  std::map<std::string, HfTensor> tensors_;
  std::vector<std::byte> block_;
  std::uint64_t done_ = 0, total_ = 0;
};

}  // namespace

ConvertSummary export_hf(const fs::path& load, std::int64_t iteration, const fs::path& to, std::uint64_t shard_bytes,
                         const ConvertProgress& progress) {
  Export work(checkpoint_of(load, iteration), progress);
  std::error_code error;
  if (fs::exists(to, error) && (!fs::is_directory(to, error) || !fs::is_empty(to, error)))
    throw ConfigError(fmt::format("--to-hf {}: expected a folder that is absent or empty", to.string()));
  DiskFileSystem().make_folder(to);
  return work.write(to, shard_bytes);
}

}  // namespace ringtron
