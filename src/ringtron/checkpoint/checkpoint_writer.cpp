// Invariant: at every moment each iteration that was complete before is complete under iter_N, or under
// .iter_N.replaced while its successor is being renamed. The finder looks at both.
#include "ringtron/checkpoint/checkpoint_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <system_error>
#include <utility>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/base/log.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/checkpoint_names.h"
#include "ringtron/checkpoint/manifest.h"
#include "ringtron/checkpoint/safetensors.h"

namespace ringtron {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

void write_synced(FileSystem& files, const std::filesystem::path& path, std::string_view text) {
  const auto file = files.create(path);
  file->write(bytes_of(text));
  file->sync();
  file->close();
}

// A whole tensor keeps its name; a piece says which rows it holds.
std::string name_in_shard(const TensorSlice& slice) {
  if (slice.slab == whole_slab(slice.global_shape)) return slice.name;
  return fmt::format("{}#dim{}[{}:{}]", slice.name, slice.slab.dim, slice.slab.offset,
                     slice.slab.offset + slice.slab.length);
}

void check_slice(const TensorSlice& slice) {
  const auto problem = slab_problem(slice.global_shape, slice.slab);
  RT_CHECK(!problem, "tensor {}: {}", slice.name, problem.value_or(""));
  RT_CHECK_EQ(static_cast<std::size_t>(slab_elements(slice.global_shape, slice.slab)) * size_of(slice.dtype),
              slice.bytes.size(), "bytes of tensor " + slice.name);
}

// Wide elements first, so that every tensor begins at a multiple of its element size.
std::vector<const TensorSlice*> file_order(std::span<const TensorSlice> slices) {
  std::vector<const TensorSlice*> order;
  for (const TensorSlice& slice : slices) order.push_back(&slice);
  std::sort(order.begin(), order.end(), [](const TensorSlice* a, const TensorSlice* b) {
    const auto a_size = size_of(a->dtype), b_size = size_of(b->dtype);
    if (a_size != b_size) return a_size > b_size;
    return a->name != b->name ? a->name < b->name : a->slab.offset < b->slab.offset;
  });
  return order;
}

std::vector<SafetensorsEntry> file_entries(std::span<const TensorSlice* const> order) {
  std::vector<SafetensorsEntry> entries;
  std::uint64_t position = 0;
  for (const TensorSlice* slice : order) {
    const std::uint64_t end = position + slice->bytes.size();
    entries.push_back(
        {name_in_shard(*slice), slice->dtype, slab_shape(slice->global_shape, slice->slab), position, end});
    position = end;
  }
  return entries;
}

ManifestPart part_of(const std::string& file, std::span<const TensorSlice* const> order,
                     std::string_view header) {
  ManifestPart part;
  part.file = file;
  part.shard = {header.size(), hash64(header)};
  for (const TensorSlice* slice : order) {
    TensorEntry& entry = part.tensors[slice->name];
    if (entry.pieces.empty()) {
      entry = {slice->dtype, slice->global_shape, slice->slab.dim, {}};
    }
    RT_CHECK(
        entry.dtype == slice->dtype && entry.shape == slice->global_shape && entry.dim == slice->slab.dim,
        "the slices of tensor {} disagree about its type, shape or dim", slice->name);
    entry.pieces.push_back(
        {file, name_in_shard(*slice), slice->slab.offset, slice->slab.length, hash64(slice->bytes)});
    part.shard.bytes += slice->bytes.size();
  }
  return part;
}

bool is_there(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

}  // namespace

CheckpointWriter::CheckpointWriter(FileSystem& files, std::filesystem::path save_folder,
                                   std::int64_t iteration)
    : files_(files), save_folder_(std::move(save_folder)), iteration_(iteration) {
  RT_CHECK_GE(iteration, 0, "iteration of a checkpoint");
}

std::filesystem::path CheckpointWriter::folder() const {
  return iteration_folder(save_folder_, iteration_);
}

void CheckpointWriter::prepare(const SaveLease& lease) {
  RT_CHECK(lease.save_folder() == save_folder_, "the lease is of {}, the save goes to {}",
           lease.save_folder().string(), save_folder_.string());
  files_.make_folder(save_folder_);
  std::vector<std::filesystem::path> leftovers;
  std::error_code error;
  for (std::filesystem::directory_iterator at(save_folder_, error), end; !error && at != end;
       at.increment(error)) {
    if (at->path().filename().string().starts_with(".iter_")) leftovers.push_back(at->path());
  }
  if (error) throw IoError(fmt::format("cannot list folder {}: {}", save_folder_.string(), error.message()));
  std::sort(leftovers.begin(), leftovers.end());
  for (const auto& leftover : leftovers) recover(leftover);
  files_.make_folder(partial_folder(save_folder_, iteration_));
}

void CheckpointWriter::recover(const std::filesystem::path& leftover) {
  const std::string name = leftover.filename().string();
  if (name.ends_with(kPartialSuffix)) {
    remove_folder(files_, leftover, kManifestName);
    return;
  }
  if (!name.ends_with(kReplacedSuffix)) return;
  const std::string published_name =
      name.substr(1, name.size() - 1 - std::string_view(kReplacedSuffix).size());
  const auto published = save_folder_ / published_name;
  if (is_there(published)) {
    if (!checkpoint_problem(published) || checkpoint_problem(leftover)) {
      remove_folder(files_, leftover, kManifestName);
      return;
    }
    remove_folder(files_, published,
                  kManifestName);  // damaged after it was published; the old one is all there is
  }
  files_.rename(leftover, published);
  files_.sync_folder(save_folder_);
}

std::string CheckpointWriter::write_shard(int shard, std::span<const TensorSlice> slices) {
  if (slices.empty()) return "";
  for (const TensorSlice& slice : slices) check_slice(slice);
  const auto partial = partial_folder(save_folder_, iteration_);
  if (!is_there(partial)) {
    throw IoError(fmt::format(
        "{} is absent on the machine that writes shard {}. --save must be a folder that all ranks "
        "share",
        partial.string(), shard));
  }
  const std::string file_name = fmt::format("shard_{:05d}.safetensors", shard);
  const auto order = file_order(slices);
  const std::string header = safetensors_header(file_entries(order));
  const ManifestPart part = part_of(file_name, order, header);
  try {
    const auto file = files_.create(partial / file_name);
    file->write(bytes_of(header));
    for (const TensorSlice* slice : order) file->write(slice->bytes);
    file->sync();
    file->close();
  } catch (...) {
    std::error_code ignored;  // the first error is the one to report
    std::filesystem::remove(partial / file_name, ignored);
    throw;
  }
  return part_to_text(part);
}

void CheckpointWriter::publish(std::span<const std::string> parts, const nlohmann::json& metadata) {
  try {
    write_manifest(parts, metadata);
    swap_in();
  } catch (...) {
    abandon();
    throw;
  }
  // The checkpoint is safe from here on, so what still fails is a matter for people.
  try {
    remove_folder(files_, replaced_folder(save_folder_, iteration_), kManifestName);
    write_tracker();
  } catch (const IoError& e) {
    warn_line("checkpoint {} is complete, but tidying up failed: {}", folder().string(), e.what());
  }
}

void CheckpointWriter::write_manifest(std::span<const std::string> parts, const nlohmann::json& metadata) {
  Manifest manifest;
  manifest.iteration = iteration_;
  manifest.metadata = metadata;
  for (const std::string& part : parts) {
    if (!part.empty()) merge_part(manifest, part_from_text(part));
  }
  const auto problem = manifest_problem(manifest);
  RT_CHECK(!problem, "the ranks' shards do not make a checkpoint: {}", problem.value_or(""));
  const auto partial = partial_folder(save_folder_, iteration_);
  write_synced(files_, partial / kManifestName, manifest_to_text(manifest));
  files_.sync_folder(partial);
  // Finds a shard that another machine has written to a folder of its own.
  if (const auto missing = checkpoint_problem(partial)) {
    throw IoError(fmt::format("{}. --save must be a folder that all ranks share", *missing));
  }
}

void CheckpointWriter::swap_in() {
  const auto partial = partial_folder(save_folder_, iteration_);
  const auto replaced = replaced_folder(save_folder_, iteration_);
  const bool replaces = is_there(folder());
  if (replaces) files_.rename(folder(), replaced);
  try {
    files_.rename(partial, folder());
  } catch (...) {
    std::error_code
        ignored;  // if this fails too, the finder still sees the old one, and prepare() puts it back
    if (replaces) std::filesystem::rename(replaced, folder(), ignored);
    throw;
  }
  files_.sync_folder(save_folder_);
}

void CheckpointWriter::write_tracker() {
  const auto aside = save_folder_ / fmt::format(".{}.tmp", kTrackerName);
  write_synced(files_, aside, fmt::format("{}", iteration_));
  files_.rename(aside, save_folder_ / kTrackerName);
  files_.sync_folder(save_folder_);
}

void CheckpointWriter::abandon() noexcept {
  try {
    remove_folder(files_, partial_folder(save_folder_, iteration_), kManifestName);
  } catch (const std::exception& e) {
    warn_line("what an abandoned save has left will go at the next save: {}", e.what());
  }
}

}  // namespace ringtron
