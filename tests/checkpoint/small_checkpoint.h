// A checkpoint of one tensor, for tests of what stands around tensors.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "ringtron/checkpoint/checkpoint_names.h"
#include "ringtron/checkpoint/checkpoint_writer.h"
#include "ringtron/checkpoint/lineage.h"

namespace ringtron::testing {

inline void save_small(const std::filesystem::path& folder, std::int64_t iteration, const nlohmann::json& metadata) {
  DiskFileSystem disk;
  const SaveLease lease(folder);
  CheckpointWriter writer(disk, folder, iteration);
  writer.prepare(lease);
  const std::string values = "12345678";
  const TensorSlice slice{"model.w", DType::f32, {2}, {0, 0, 2}, std::as_bytes(std::span(values))};
  const std::string part = writer.write_shard(0, std::span(&slice, 1));
  writer.publish(std::span(&part, 1), metadata);
}

inline void save_small(const std::filesystem::path& folder, std::int64_t iteration, const Lineage& lineage) {
  save_small(folder, iteration, nlohmann::json{{"lineage", lineage_to_json(lineage)}});
}

inline void cut_shard(const std::filesystem::path& folder, std::int64_t iteration) {
  std::filesystem::resize_file(iteration_folder(folder, iteration) / "shard_00000.safetensors", 20);
}

}  // namespace ringtron::testing
