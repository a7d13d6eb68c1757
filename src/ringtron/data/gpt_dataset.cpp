#include "ringtron/data/gpt_dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"

namespace ringtron {

GptDataset::GptDataset(std::shared_ptr<const IndexedDataset> corpus, const GptDatasetOptions& options)
    : corpus_(std::move(corpus)), sequence_length_(options.index.sequence_length) {
  open_index(options);
  require_whole();
}

void GptDataset::open_index(const GptDatasetOptions& options) {
  const std::filesystem::path folder = options.cache_folder.empty()
                                           ? std::filesystem::path(corpus_->prefix()) / "cache" / "GPTDataset_indices"
                                           : options.cache_folder;
  const std::string description = describe_gpt_index(*corpus_, options.index, options.split);
  const std::filesystem::path path = gpt_index_path(folder, description, options.split);
  CacheLookup found = load_gpt_index(path, description, *corpus_, options.index);
  if (found.index) {
    cached_ = std::move(found.index);
    sizes_ = cached_->sizes;
    documents_ = cached_->documents;
    starts_ = cached_->starts;
    order_ = cached_->order;
    order_hash_ = cached_->arrays_hash;
    return;
  }
  if (!found.refused.empty()) cache_refused_ = path.string() + ": " + found.refused;
  built_ = build_gpt_index(*corpus_, options.index);
  corpus_->require_whole();  // no index of zeros is kept
  sizes_ = built_.sizes;
  documents_ = built_.documents;
  starts_ = built_.starts;
  order_ = built_.order;
  order_hash_ = hash_arrays(starts_, order_, documents_);
  source_ = IndexSource::built_and_cached;
  try {
    save_gpt_index(path, description, built_);
  } catch (const IoError& error) {
    source_ = IndexSource::built;
    cache_problem_ = error.what();
  }
}

void GptDataset::require_whole() const {
  corpus_->require_whole();
  if (cached_) cached_->file.require_whole();
}

void GptDataset::fail_past_the_end(std::int64_t sample) const {
  require_whole();  // zeros in place of lengths add up to nothing
  RT_CHECK(cached_, "sample {} of {} runs past its corpus", sample, corpus_->prefix());
  throw IoError(fmt::format("{} is damaged: its sample {} runs past the end of {}. Delete it; it is built anew",
                            cached_->file.path().string(), sample, corpus_->prefix()));
}

SampleStart GptDataset::seek(std::int64_t sample, std::int64_t position) const {
  RT_CHECK(sample >= 0 && sample < size() && position >= 0 && position <= sequence_length_,
           "token {} of sample {}, of {} samples of {} + 1 tokens", position, sample, size(), sequence_length_);
  SampleStart at = starts_[static_cast<std::size_t>(order_[static_cast<std::size_t>(sample)])];
  at.offset += position;
  while (true) {
    if (at.document >= static_cast<std::int64_t>(documents_.size())) fail_past_the_end(sample);
    const std::int64_t length = corpus_->sequence_length(documents_[static_cast<std::size_t>(at.document)]);
    if (at.offset < length) return at;
    at.offset -= length;
    ++at.document;
  }
}

void GptDataset::read(std::int64_t sample, std::int64_t first, std::int64_t count, std::int32_t* out) const {
  RT_CHECK(count >= 0 && first + count <= sequence_length_ + 1, "tokens [{}, {}) of a sample of {} + 1 tokens", first,
           first + count, sequence_length_);
  if (count == 0) return;
  try {
    copy(sample, first, count, out);
  } catch (const InternalError&) {
    require_whole();  // zeros in place of lengths add up to nothing
    throw;
  }
  require_whole();
}

void GptDataset::copy(std::int64_t sample, std::int64_t first, std::int64_t count, std::int32_t* out) const {
  SampleStart at = seek(sample, first);
  while (count > 0) {
    if (at.document >= static_cast<std::int64_t>(documents_.size())) fail_past_the_end(sample);
    const std::int64_t sequence = documents_[static_cast<std::size_t>(at.document)];
    const std::int64_t part = std::min(count, corpus_->sequence_length(sequence) - at.offset);
    corpus_->read(sequence, at.offset, part, out);
    out += part;
    count -= part;
    ++at.document;
    at.offset = 0;
  }
}

TokenPlace GptDataset::locate(std::int64_t sample, std::int64_t position) const {
  const SampleStart at = seek(sample, position);
  return corpus_->place(documents_[static_cast<std::size_t>(at.document)], at.offset);
}

}  // namespace ringtron
