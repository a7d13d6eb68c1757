// Saves one checkpoint so that a reader sees all of it or nothing, whatever crashes when.
//
//   publishing rank   name = writer.prepare(lease)   removes what crashes have left, makes the folder aside
//   other ranks       writer.write_into(name)        which the publishing rank has sent them
//   writing ranks     part = writer.write_shard(...) one file each, synced
//   all ranks         gather the parts on the publishing rank (this is also the barrier); if any rank failed,
//   that rank
//                     calls abandon() instead of publish()
//   publishing rank   writer.publish(parts, metadata) manifest, synced, then one rename
//
// Until that rename, earlier checkpoints are untouched and the new one is invisible; after it, the new one is
// complete. An iteration that was saved before is moved aside first and removed last, so one complete copy
// always exists. What has the checkpoint's name and is none of ours is moved to iter_N.set_aside and kept; what can be
// neither moved nor removed (a mount point, an immutable file) stays, and the checkpoint becomes iter_N.beside, where
// the finder looks too. No link is followed, and nothing outside the save folder is touched; a leftover that cannot be
// removed is stepped around, with a warning. All ranks must see the same save folder. Makes no collective calls itself;
// not thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

#include "ringtron/checkpoint/file_system.h"
#include "ringtron/checkpoint/save_lease.h"
#include "ringtron/checkpoint/tensor_slice.h"

namespace ringtron {

class CheckpointWriter {
 public:
  // `files` is borrowed. Nothing happens on disk yet.
  CheckpointWriter(FileSystem& files, std::filesystem::path save_folder, std::int64_t iteration);

  // Throws IoError. `lease` proves that no other run is at work in the save folder, and must be of that
  // folder. Returns the name of the folder aside, for the other ranks' write_into().
  std::string prepare(const SaveLease& lease);
  void write_into(const std::string& name);

  // Writes this rank's slices into shard_<shard>.safetensors; `shard` differs between ranks (its rank does).
  // Returns this rank's part of the manifest, to be gathered as it is; empty if there are no slices. Throws
  // IoError (disk full included); then the shard is removed again.
  std::string write_shard(int shard, std::span<const TensorSlice> slices);

  // The same of whole tensors that do not lie in memory. Throws what their `produce` throws.
  std::string write_streamed_shard(int shard, std::span<const StreamedTensor> tensors);

  // Joins the parts of all ranks (empty ones are skipped) and makes the checkpoint visible and durable.
  // `metadata` is an object that comes back from CheckpointReader::metadata() as it is. Throws IoError, and
  // InternalError if the parts do not cover every tensor exactly once; then it has abandoned the save.
  void publish(std::span<const std::string> parts, const nlohmann::json& metadata);

  // Removes what was written aside. Never throws: what cannot be removed now goes at the next prepare().
  void abandon() noexcept;

  // Where the checkpoint is once published: under its plain name, or beside it.
  std::filesystem::path folder() const;

 private:
  void write_shard_file(int shard, std::string_view header, const std::function<void(WritableFile&)>& write_tensors);
  void clear_leftovers();
  void clear(const std::filesystem::path& leftover);
  void clear_replaced(const std::filesystem::path& leftover);
  std::filesystem::path move_standing_aside();
  void write_manifest(std::span<const std::string> parts, const nlohmann::json& metadata);
  std::filesystem::path swap_in();
  void step_beside(const std::string& why);
  void clear_beside();
  void write_tracker();

  FileSystem& files_;
  std::filesystem::path save_folder_;
  std::int64_t iteration_;
  std::filesystem::path partial_;    // the folder aside
  std::filesystem::path published_;  // see folder()
};

}  // namespace ringtron
