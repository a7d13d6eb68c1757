#include "ringtron/kernels/ssd_scan/ssd_chunks.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ringtron/kernels/device/device_table.h"

namespace ringtron {
namespace {

// exp(log_decay) [k, h], to be multiplied with states [k, h, p, n].
at::Tensor decay_of_states(const at::Tensor& log_decay) { return log_decay.exp().unsqueeze(-1).unsqueeze(-1); }

}  // namespace

SsdChunks::SsdChunks(const ScanSegments& segments, std::int64_t chunk, const at::Device& device)
    : length_(std::max<std::int64_t>(1, std::min(chunk, segments.longest()))),
      segments_(static_cast<std::int64_t>(segments.list().size())) {
  const std::int64_t b = segments.samples();
  std::vector<std::int64_t> rows, valid, segment_of_chunk;
  std::vector<std::int64_t> place_of_row(static_cast<std::size_t>(segments.rows() * b));
  std::vector<std::int64_t> first(static_cast<std::size_t>(segments.initials()));
  std::vector<std::int64_t> last(static_cast<std::size_t>(segments.finals()));
  std::vector<std::vector<std::int64_t>> steps;
  std::int64_t number = 0;
  for (const ScanSegment& segment : segments.list()) {
    if (segment.initial >= 0) first[static_cast<std::size_t>(segment.initial)] = count_;
    for (std::int64_t begin = segment.begin, step = 0; begin < segment.end; begin += length_, ++step) {
      for (std::int64_t i = 0; i < length_; ++i) {
        const bool counts = begin + i < segment.end;
        const std::int64_t row = (counts ? begin + i : segment.begin) * b + segment.sample;
        if (counts) place_of_row[static_cast<std::size_t>(row)] = count_ * length_ + i;
        rows.push_back(row);
        valid.push_back(counts ? 1 : 0);
      }
      if (static_cast<std::size_t>(step) >= steps.size()) steps.emplace_back();
      steps[static_cast<std::size_t>(step)].push_back(count_++);
      segment_of_chunk.push_back(number);
    }
    if (segment.final >= 0) last[static_cast<std::size_t>(segment.final)] = count_ - 1;
    ++number;
  }
  rows_ = index_table(rows, device);
  valid_ = index_table(valid, device).to(at::kBool).view({count_, length_});
  place_of_row_ = index_table(place_of_row, device);
  segment_of_chunk_ = index_table(segment_of_chunk, device);
  first_of_initial_ = index_table(first, device);
  last_of_final_ = index_table(last, device);
  for (std::size_t step = 1; step < steps.size(); ++step) steps_.push_back(index_table(steps[step], device));
}

at::Tensor SsdChunks::gather(const at::Tensor& rows) const {
  std::vector<std::int64_t> sizes = rows.sizes().slice(2).vec(), mask(sizes.size(), 1);
  sizes.insert(sizes.begin(), {count_, length_});
  mask.insert(mask.begin(), {count_, length_});
  return rows.flatten(0, 1).index_select(0, rows_).view(sizes).masked_fill(valid_.view(mask).logical_not(), 0);
}

at::Tensor SsdChunks::scatter(const at::Tensor& chunks, const at::Tensor& like) const {
  return chunks.flatten(0, 1).index_select(0, place_of_row_).to(like.scalar_type()).view(like.sizes());
}

at::Tensor SsdChunks::enter(const at::Tensor& added, const at::Tensor& log_decay, const at::Tensor& at_start) const {
  at::Tensor entering = at::zeros_like(added);
  if (at_start.defined()) entering.index_copy_(0, first_of_initial_, at_start);
  for (const at::Tensor& chunks : steps_) {
    const at::Tensor before = chunks - 1;
    entering.index_copy_(0, chunks,
                         decay_of_states(log_decay.index_select(0, before)) * entering.index_select(0, before) +
                             added.index_select(0, before));
  }
  return entering;
}

at::Tensor SsdChunks::enter_reversed(const at::Tensor& added, const at::Tensor& log_decay,
                                     const at::Tensor& at_end) const {
  at::Tensor entering = at::zeros_like(added);
  if (at_end.defined()) entering.index_copy_(0, last_of_final_, at_end);
  for (auto chunks = steps_.rbegin(); chunks != steps_.rend(); ++chunks) {
    entering.index_copy_(0, *chunks - 1,
                         decay_of_states(log_decay.index_select(0, *chunks)) * entering.index_select(0, *chunks) +
                             added.index_select(0, *chunks));
  }
  return entering;
}

at::Tensor SsdChunks::segment_sums(const at::Tensor& per_chunk, const at::Tensor& chunks) const {
  const at::Tensor sums =
      at::zeros({segments_, per_chunk.size(1)}, per_chunk.options()).index_add_(0, segment_of_chunk_, per_chunk);
  return sums.index_select(0, segment_of_chunk_.index_select(0, chunks));
}

}  // namespace ringtron
