#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/checkpoint_writer.h"
#include "ringtron/checkpoint/lineage.h"
#include "ringtron/hugging_face/convert.h"
#include "ringtron/hugging_face/hf_folder.h"

namespace ringtron {
namespace {

constexpr std::int64_t kBlockBytes = std::int64_t{16} << 20;   // read, hashed and written at a time
constexpr std::uint64_t kShardBytes = std::uint64_t{4} << 30;  // so that the ranks of a load share the work

// What a run keeps beside its tensors (train/run_metadata.h), of one that has made no step.
nlohmann::json metadata_of(const HfModel& model) {
  return {{"iteration", 0},
          {"consumed_train_samples", 0},
          {"consumed_valid_samples", 0},
          {"optimizer_step_count", 0},
          {"has_optimizer", false},
          {"opt_param_scheduler", {{"num_steps", "0"}}},
          {"configuration", stored_json_of(model)},
          {"lineage", lineage_to_json({new_run_name(), 1, {}})}};
}

std::uint64_t bytes_of(const HfFolder& from, const HfMapping& tensor) {
  return static_cast<std::uint64_t>(element_count(tensor.shape).value_or(0)) * size_of(from.dtype(tensor));
}

class Import {
 public:
  Import(const HfFolder& from, const ConvertProgress& progress) : from_(from), progress_(progress) {
    for (const HfMapping& tensor : from.tensors()) total_ += bytes_of(from, tensor);
  }

  std::uint64_t total() const { return total_; }

  StreamedTensor stream(const HfMapping& tensor) {
    return {"model." + tensor.name, from_.dtype(tensor), tensor.shape,
            [this, &tensor](const StreamedTensor::Sink& sink) { produce(tensor, sink); }};
  }

 private:
  void produce(const HfMapping& tensor, const StreamedTensor::Sink& sink) {
    const std::int64_t rows = tensor.shape.front();
    const std::int64_t row_bytes = static_cast<std::int64_t>(bytes_of(from_, tensor)) / rows;
    const std::int64_t most = std::clamp<std::int64_t>(kBlockBytes / row_bytes, 1, rows);
    for (std::int64_t row = 0; row < rows; row += most) {
      const std::int64_t count = std::min(most, rows - row);
      block_.resize(static_cast<std::size_t>(count * row_bytes));
      from_.read_slice(tensor, {0, row, count}, block_);
      sink(block_);
      done_ += block_.size();
      progress_(done_, total_);
      if (!tensor.transposed) from_.release(tensor);
    }
    from_.release(tensor);
  }

  const HfFolder& from_;
  const ConvertProgress& progress_;
  std::vector<std::byte> block_;
  std::uint64_t done_ = 0, total_ = 0;
};

}  // namespace

ConvertSummary import_hf(const std::filesystem::path& from, const std::filesystem::path& save,
                         const ConvertProgress& progress) {
  const HfFolder folder(from);
  if (!list_iterations(save).empty()) {
    throw ConfigError(fmt::format(
        "--save {} holds checkpoints already, and a load would have to choose. Give a folder that is absent or empty",
        save.string()));
  }
  Import import(folder, progress);
  DiskFileSystem files;
  const SaveLease lease(save);
  CheckpointWriter writer(files, save, 0);
  writer.prepare(lease);
  ConvertSummary summary;
  summary.model_type = model_type_of(folder.model().family);
  summary.layers = folder.model().config.model.num_layers;
  try {
    std::vector<std::string> parts;
    std::vector<StreamedTensor> shard;
    std::uint64_t shard_bytes = 0;
    const auto flush = [&] {
      parts.push_back(writer.write_streamed_shard(static_cast<int>(parts.size()), shard));
      shard.clear();
      shard_bytes = 0;
    };
    for (const HfMapping& tensor : folder.tensors()) {
      const std::uint64_t bytes = bytes_of(folder, tensor);
      if (!shard.empty() && shard_bytes + bytes > kShardBytes) flush();
      shard.push_back(import.stream(tensor));
      shard_bytes += bytes;
      summary.parameters += element_count(tensor.shape).value_or(0);
      ++summary.tensors;
    }
    flush();
    writer.publish(parts, metadata_of(folder.model()));
  } catch (...) {
    writer.abandon();
    throw;
  }
  summary.bytes = import.total();
  summary.folder = writer.folder();
  return summary;
}

}  // namespace ringtron
