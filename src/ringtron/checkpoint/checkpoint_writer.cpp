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

std::string shard_name(int shard) { return fmt::format("shard_{:05d}.safetensors", shard); }

// A whole tensor keeps its name; a piece says which rows it holds.
std::string name_in_shard(const TensorSlice& slice) {
  if (!slice.range && slice.slab == whole_slab(slice.global_shape)) return slice.name;
  return stored_name(slice.name, slice.slab, slice.range);
}

std::int64_t elements_of(const TensorSlice& slice) {
  return slice.range ? slice.range->size() : slab_elements(slice.global_shape, slice.slab);
}

void check_slice(const TensorSlice& slice) {
  const auto problem = slab_problem(slice.global_shape, slice.slab);
  RT_CHECK(!problem, "tensor {}: {}", slice.name, problem.value_or(""));
  const auto of_range =
      slice.range ? range_problem(slice.global_shape, slice.slab, *slice.range) : std::optional<std::string>();
  RT_CHECK(!of_range, "tensor {}: {}", slice.name, of_range.value_or(""));
  RT_CHECK_EQ(static_cast<std::size_t>(elements_of(slice)) * size_of(slice.dtype), slice.bytes.size(),
              "bytes of tensor " + slice.name);
}

// Wide elements first, so that every tensor begins at a multiple of its element size.
std::vector<const TensorSlice*> file_order(std::span<const TensorSlice> slices) {
  std::vector<const TensorSlice*> order;
  for (const TensorSlice& slice : slices) order.push_back(&slice);
  std::sort(order.begin(), order.end(), [](const TensorSlice* a, const TensorSlice* b) {
    const auto a_size = size_of(a->dtype), b_size = size_of(b->dtype);
    if (a_size != b_size) return a_size > b_size;
    if (a->name != b->name) return a->name < b->name;
    if (a->slab.offset != b->slab.offset) return a->slab.offset < b->slab.offset;
    return a->range.value_or(SlabRange{}).begin < b->range.value_or(SlabRange{}).begin;
  });
  return order;
}

std::vector<SafetensorsEntry> file_entries(std::span<const TensorSlice* const> order) {
  std::vector<SafetensorsEntry> entries;
  std::uint64_t position = 0;
  for (const TensorSlice* slice : order) {
    const std::uint64_t end = position + slice->bytes.size();
    entries.push_back({name_in_shard(*slice), slice->dtype,
                       stored_shape(slice->global_shape, slice->slab, slice->range), position, end});
    position = end;
  }
  return entries;
}

ManifestPart part_of(const std::string& file, std::span<const TensorSlice* const> order, std::string_view header) {
  ManifestPart part;
  part.file = file;
  part.shard = {header.size(), hash64(header)};
  for (const TensorSlice* slice : order) {
    TensorEntry& entry = part.tensors[slice->name];
    if (entry.pieces.empty()) {
      entry = {slice->dtype, slice->global_shape, slice->slab.dim, {}};
    }
    RT_CHECK(entry.dtype == slice->dtype && entry.shape == slice->global_shape && entry.dim == slice->slab.dim,
             "the slices of tensor {} disagree about its type, shape or dim", slice->name);
    entry.pieces.push_back(
        {file, name_in_shard(*slice), slice->slab.offset, slice->slab.length, hash64(slice->bytes), slice->range});
    part.shard.bytes += slice->bytes.size();
  }
  return part;
}

// A slab that is the whole tensor is one along dim 0, along whichever dim others would cut it: its elements have the
// same order then.
std::vector<TensorSlice> plainly_named(std::span<const TensorSlice> slices) {
  std::vector<TensorSlice> out(slices.begin(), slices.end());
  for (TensorSlice& slice : out) {
    check_slice(slice);
    const bool whole = slice.slab.length == rows_along(slice.global_shape, slice.slab.dim);
    if (whole) slice.slab = whole_slab(slice.global_shape);
  }
  return out;
}

// Whether a folder holds nothing but what a save writes: it may go when the same iteration is saved again.
bool holds_only_a_checkpoint(const std::filesystem::path& folder) {
  if (!is_real_folder(folder)) return false;
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    const bool shard = name.starts_with("shard_") && name.ends_with(".safetensors");
    if (is_real_folder(at->path()) || (name != kManifestName && !shard)) return false;
  }
  return !error;
}

}  // namespace

CheckpointWriter::CheckpointWriter(FileSystem& files, std::filesystem::path save_folder, std::int64_t iteration)
    : files_(files),
      save_folder_(std::move(save_folder)),
      iteration_(iteration),
      partial_(partial_folder(save_folder_, iteration)),
      published_(iteration_folder(save_folder_, iteration)) {
  RT_CHECK_GE(iteration, 0, "iteration of a checkpoint");
}

std::filesystem::path CheckpointWriter::folder() const { return published_; }

std::string CheckpointWriter::prepare(const SaveLease& lease) {
  RT_CHECK(lease.save_folder() == save_folder_, "the lease is of {}, the save goes to {}", lease.save_folder().string(),
           save_folder_.string());
  files_.make_folder(save_folder_);
  clear_leftovers();
  constexpr int kNames = 100;
  int number = 0;
  while (number < kNames && is_taken(partial_folder(save_folder_, iteration_, number))) ++number;
  partial_ = partial_folder(save_folder_, iteration_, number);
  files_.make_new_folder(partial_);
  return partial_.filename().string();
}

void CheckpointWriter::write_into(const std::string& name) { partial_ = save_folder_ / name; }

void CheckpointWriter::clear_leftovers() {
  std::vector<std::filesystem::path> leftovers;
  std::error_code error;
  for (std::filesystem::directory_iterator at(save_folder_, error), end; !error && at != end; at.increment(error)) {
    if (at->path().filename().string().starts_with(".iter_")) leftovers.push_back(at->path());
  }
  if (error) throw IoError(fmt::format("cannot list folder {}: {}", save_folder_.string(), error.message()));
  std::sort(leftovers.begin(), leftovers.end());
  for (const auto& leftover : leftovers) {
    try {
      clear(leftover);
    } catch (const IoError& e) {
      warn_line("{} is left where it is, the save uses another name: {}", leftover.string(), e.what());
    }
  }
}

void CheckpointWriter::clear(const std::filesystem::path& leftover) {
  const std::string name = leftover.filename().string();
  if (name.ends_with(kPartialSuffix)) {
    sweep(files_, leftover, kManifestName);
  } else if (name.ends_with(kReplacedSuffix)) {
    clear_replaced(leftover);
  }
}

// The old copy of an iteration: put back if it is all there is.
void CheckpointWriter::clear_replaced(const std::filesystem::path& leftover) {
  const std::string name = leftover.filename().string();
  const auto published = save_folder_ / name.substr(1, name.size() - 1 - std::string_view(kReplacedSuffix).size());
  const bool old_is_complete = is_real_folder(leftover) && !checkpoint_problem(leftover);
  const bool new_is_complete = !checkpoint_problem(published);
  if (new_is_complete || !old_is_complete) {
    if (!new_is_complete && is_taken(leftover / kManifestName)) {
      throw IoError("it is damaged, and there is no other copy");
    }
    sweep(files_, leftover, kManifestName);
    return;
  }
  if (holds_only_a_checkpoint(published)) {
    sweep(files_, published, kManifestName);  // damaged after it was published; the old one is all there is
  }
  if (is_taken(published)) throw IoError(fmt::format("{} has its name", published.string()));
  files_.rename(leftover, published);
  files_.sync_folder(save_folder_);
}

void CheckpointWriter::write_shard_file(int shard, std::string_view header,
                                        const std::function<void(WritableFile&)>& write_tensors) {
  if (!is_real_folder(partial_)) {
    throw IoError(
        fmt::format("{} is absent on the machine that writes shard {}. --save must be a folder that all ranks "
                    "share",
                    partial_.string(), shard));
  }
  const std::filesystem::path path = partial_ / shard_name(shard);
  try {
    const auto file = files_.create(path);
    file->write(bytes_of(header));
    write_tensors(*file);
    file->sync();
    file->close();
  } catch (...) {
    std::error_code ignored;  // the first error is the one to report
    std::filesystem::remove(path, ignored);
    throw;
  }
}

std::string CheckpointWriter::write_shard(int shard, std::span<const TensorSlice> given) {
  if (given.empty()) return "";
  const std::vector<TensorSlice> slices = plainly_named(given);
  const auto order = file_order(slices);
  const std::string header = safetensors_header(file_entries(order));
  const ManifestPart part = part_of(shard_name(shard), order, header);
  write_shard_file(shard, header, [&](WritableFile& file) {
    for (const TensorSlice* slice : order) file.write(slice->bytes);
  });
  return part_to_text(part);
}

std::string CheckpointWriter::write_streamed_shard(int shard, std::span<const StreamedTensor> tensors) {
  if (tensors.empty()) return "";
  std::vector<const StreamedTensor*> order;
  for (const StreamedTensor& tensor : tensors) order.push_back(&tensor);
  std::ranges::stable_sort(order, std::ranges::greater{},
                           [](const StreamedTensor* tensor) { return size_of(tensor->dtype); });
  std::vector<SafetensorsEntry> entries;
  std::uint64_t position = 0;
  for (const StreamedTensor* tensor : order) {
    const auto elements = element_count(tensor->shape);
    RT_CHECK(elements.has_value(), "tensor {} has no element count", tensor->name);
    const std::uint64_t end = position + static_cast<std::uint64_t>(*elements) * size_of(tensor->dtype);
    entries.push_back({tensor->name, tensor->dtype, tensor->shape, position, end});
    position = end;
  }
  const std::string header = safetensors_header(entries);
  ManifestPart part;
  part.file = shard_name(shard);
  part.shard = {header.size() + position, hash64(header)};
  write_shard_file(shard, header, [&](WritableFile& file) {
    for (std::size_t i = 0; i < order.size(); ++i) {
      const StreamedTensor& tensor = *order[i];
      Hash64 hash;
      std::uint64_t written = 0;
      tensor.produce([&](std::span<const std::byte> bytes) {
        hash.add(bytes);
        file.write(bytes);
        written += bytes.size();
      });
      RT_CHECK_EQ(written, entries[i].end - entries[i].begin, "bytes of tensor " + tensor.name);
      const Piece whole{part.file, tensor.name, 0, rows_along(tensor.shape, 0), hash.value(), {}};
      part.tensors[tensor.name] = {tensor.dtype, tensor.shape, 0, {whole}};
    }
  });
  return part_to_text(part);
}

void CheckpointWriter::publish(std::span<const std::string> parts, const nlohmann::json& metadata) {
  std::filesystem::path old;
  try {
    write_manifest(parts, metadata);
    old = swap_in();
  } catch (...) {
    abandon();
    throw;
  }
  // The checkpoint is safe from here on, so what still fails is a matter for people.
  try {
    if (old == replaced_folder(save_folder_, iteration_)) sweep(files_, old, kManifestName);
    clear_beside();
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
  write_synced(files_, partial_ / kManifestName, manifest_to_text(manifest));
  files_.sync_folder(partial_);
  // Finds a shard that another machine has written to a folder of its own.
  if (const auto missing = checkpoint_problem(partial_)) {
    throw IoError(fmt::format("{}. --save must be a folder that all ranks share", *missing));
  }
}

// Frees the checkpoint's name: renames what has it, and returns the new name, or an empty path.
std::filesystem::path CheckpointWriter::move_standing_aside() {
  if (!is_taken(folder())) return {};
  auto aside = replaced_folder(save_folder_, iteration_);
  std::error_code error;
  const bool ours = holds_only_a_checkpoint(folder()) || std::filesystem::is_symlink(folder(), error);
  if (!ours || is_taken(aside)) {
    int number = 0;
    do aside = set_aside_path(save_folder_, iteration_, number++);
    while (is_taken(aside));
  }
  files_.rename(folder(), aside);
  if (aside != replaced_folder(save_folder_, iteration_)) {
    warn_line("{} was no checkpoint of this program's, but had the name of one: it is kept as {}", folder().string(),
              aside.string());
  }
  return aside;
}

// Returns where what had the name is now, or an empty path.
std::filesystem::path CheckpointWriter::swap_in() {
  std::filesystem::path aside;
  try {
    aside = move_standing_aside();
  } catch (const IoError& e) {
    step_beside(e.what());
  }
  try {
    files_.rename(partial_, folder());
  } catch (...) {
    std::error_code ignored;  // if this fails too, the finder still sees the old one, and prepare() puts it back
    if (!aside.empty()) std::filesystem::rename(aside, folder(), ignored);
    throw;
  }
  files_.sync_folder(save_folder_);
  return aside;
}

void CheckpointWriter::step_beside(const std::string& why) {
  const auto plain = folder();
  int number = 0;
  do published_ = beside_path(save_folder_, iteration_, number++);
  while (is_taken(published_));
  warn_line(
      "{} cannot be moved out of the way ({}): the checkpoint of iteration {} is saved as {}, where a load from {} finds it",
      plain.string(), why, iteration_, published_.string(), save_folder_.string());
}

// Older copies of this iteration, from when its name was taken. The one just published is the newer.
void CheckpointWriter::clear_beside() {
  const std::string prefix = beside_path(save_folder_, iteration_, 0).filename().string();
  std::vector<std::filesystem::path> old;
  std::error_code error;
  for (std::filesystem::directory_iterator at(save_folder_, error), end; !error && at != end; at.increment(error)) {
    const bool named = at->path().filename().string().starts_with(prefix) && at->path() != published_;
    if (named && holds_only_a_checkpoint(at->path())) old.push_back(at->path());
  }
  std::sort(old.begin(), old.end());
  for (const auto& path : old) sweep(files_, path, kManifestName);
}

void CheckpointWriter::write_tracker() {
  const auto aside = save_folder_ / fmt::format(".{}.tmp", kTrackerName);
  sweep(files_, aside, "");
  try {
    write_synced(files_, aside, fmt::format("{}", iteration_));
    files_.rename(aside, save_folder_ / kTrackerName);
  } catch (...) {
    std::error_code ignored;  // the first error is the one to report
    std::filesystem::remove(aside, ignored);
    throw;
  }
  files_.sync_folder(save_folder_);
}

void CheckpointWriter::abandon() noexcept {
  try {
    sweep(files_, partial_, kManifestName);
  } catch (const std::exception& e) {
    warn_line("what an abandoned save has left will go at the next save: {}", e.what());
  }
}

}  // namespace ringtron
