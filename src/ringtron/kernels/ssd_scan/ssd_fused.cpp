#include "ringtron/kernels/ssd_scan/ssd_fused.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ringtron/kernels/device/device_table.h"
#include "ringtron/kernels/device/element.h"
#include "ringtron/kernels/device/row_views.h"
#include "ringtron/kernels/ssd_scan/ssd_parts.h"

namespace ringtron::fused {
namespace {

SsdRows rows_of(const at::Tensor& x) { return {x.const_data_ptr(), distance_of_rows(x, 2)}; }
const float* pointer(const at::Tensor& x) { return x.defined() ? x.const_data_ptr<float>() : nullptr; }
float* to(const at::Tensor& x) { return x.defined() ? x.mutable_data_ptr<float>() : nullptr; }

SsdParts parts_of(const SsdInputs& in, const ScanSegments& segments, const SsdDevice& device) {
  return ssd_parts(segments, chunks_of_part(segments, in.x.size(2), device.multiprocessors));
}

// One call's inputs, with what all kernels need made of them.
class Call {
 public:
  Call(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options, const SsdDevice& device,
       const SsdParts& of_segments)
      : x(readable_rows(in.x, 8, 2)),
        B(readable_rows(in.B, 8, 2)),
        C(readable_rows(in.C, 8, 2)),
        dt(readable_rows(in.dt, 1, 1)),
        a(in.a.to(at::kFloat)),
        d(in.d.to(at::kFloat)),
        bias(in.dt_bias.to(at::kFloat)),
        device(device),
        parts(of_segments),
        chunk_table_(device_table(parts.chunks, in.x.device())),
        part_table_(device_table(parts.parts, in.x.device())),
        run_table_(device_table(parts.runs, in.x.device())) {
    shape.chunks = static_cast<const SsdChunk*>(chunk_table_.const_data_ptr());
    shape.count = static_cast<std::int64_t>(parts.chunks.size());
    shape.samples = segments.samples();
    shape.heads = static_cast<int>(x.size(2));
    shape.groups = static_cast<int>(B.size(2));
    shape.size = static_cast<int>(x.size(3));
    shape.states = static_cast<int>(B.size(3));
    shape.type = *element_of(x);
    of_steps = {dt.const_data_ptr(),
                distance_of_rows(dt, 1),
                pointer(a),
                pointer(bias),
                static_cast<float>(options.least_step),
                static_cast<float>(options.most_step)};
    steps = fp32({shape.count, shape.heads, kSteps, kSsdChunk});
    ssd_steps_cuda({shape, of_steps, to(steps)}, device.stream);
  }

  at::Tensor fp32(at::IntArrayRef sizes) const { return at::empty(sizes, x.options().dtype(at::kFloat)); }
  // [lines, heads, size, states], wide.
  at::Tensor states(std::int64_t lines) const { return fp32({lines, shape.heads, shape.size, shape.states}); }
  std::int64_t count_of_parts() const { return static_cast<std::int64_t>(parts.parts.size()); }

  // What parts end with from zero, and what lines do. `dy` defined: reversed.
  SsdStates ends(std::int64_t lines, const at::Tensor& dy) const {
    SsdStates s;
    s.ends = {states(lines), fp32({lines, shape.heads})};
    s.chunks = states(count_of_parts());
    s.log2_decay = fp32({count_of_parts(), shape.heads});
    SsdWalkParams p = walk(dy);
    p.leaving = to(s.chunks);
    p.log2_decay = to(s.log2_decay);
    ssd_walk_cuda(p, device.stream);
    if (lines > 0) join(s, {}, {}, s.ends, dy.defined());
    return s;
  }

  // A walk for what enters each chunk, [chunks, heads, kSsdMostSize, kSsdMostStates], and the tensors it works on.
  struct ChunkWalk {
    SsdWalkParams params;
    at::Tensor states, entering, left;
  };

  // `given`: what enters at lines; `leaves`: what leaves is wanted.
  ChunkWalk walk_of_chunks(const SsdStates& ends, const at::Tensor& given, bool leaves, const at::Tensor& dy) const {
    ChunkWalk w{walk(dy), at::empty({shape.count, shape.heads, kSsdMostSize, kSsdMostStates}, x.options()), {}, {}};
    const bool enters = given.defined() && given.size(0) > 0;
    if (enters || parts.joined()) {
      w.entering = states(count_of_parts());
      join(ends, enters ? given.to(at::kFloat).contiguous() : at::Tensor(), w.entering, {}, dy.defined());
      w.params.entering = to(w.entering);
    }
    w.params.chunk_states = w.states.mutable_data_ptr();
    if (leaves) {
      w.left = states(count_of_parts());
      w.params.leaving = to(w.left);
    }
    return w;
  }

  // What leaves at lines, after the walk.
  void copy_left(const ChunkWalk& w, const at::Tensor& lines) const {
    for (const SsdRun& run : parts.runs) {
      const std::int64_t line = w.params.reverse ? run.initial : run.final;
      if (w.left.defined() && line >= 0) lines.select(0, line).copy_(w.left.select(0, run.part));
    }
  }

  // Over how many blocks the heads of a group are divided.
  int splits() const {
    const std::int64_t blocks = shape.count * shape.groups, wanted = 2 * device.multiprocessors;
    return static_cast<int>(std::clamp<std::int64_t>((wanted + blocks - 1) / std::max<std::int64_t>(1, blocks), 1,
                                                     shape.heads / shape.groups));
  }

  at::Tensor x, B, C, dt, a, d, bias, steps;
  SsdDevice device;
  SsdParts parts;
  SsdShape shape;
  SsdSteps of_steps;

 private:
  SsdWalkParams walk(const at::Tensor& dy) const {
    SsdWalkParams p{};
    p.shape = shape;
    p.parts = static_cast<const SsdPart*>(part_table_.const_data_ptr());
    p.part_count = count_of_parts();
    p.steps = pointer(steps);
    p.reverse = dy.defined();
    p.rows = rows_of(p.reverse ? dy : x);
    p.shared = rows_of(p.reverse ? C : B);
    return p;
  }

  void join(const SsdStates& ends, const at::Tensor& given, const at::Tensor& entering, const SsdEnds& wanted,
            bool reverse) const {
    SsdJoinParams p{};
    p.runs = static_cast<const SsdRun*>(run_table_.const_data_ptr());
    p.run_count = static_cast<std::int64_t>(parts.runs.size());
    p.elements = std::int64_t{shape.size} * shape.states;
    p.heads = shape.heads;
    p.ends = pointer(ends.chunks);
    p.log2_decay = pointer(ends.log2_decay);
    p.given = pointer(given);
    p.entering = to(entering);
    p.wanted = to(wanted.state);
    p.log_decay = to(wanted.log_decay);
    p.reverse = reverse;
    ssd_join_cuda(p, device.stream);
  }

  at::Tensor chunk_table_, part_table_, run_table_;
};

// Where the gradient of B or C goes: with splits, shares of it.
at::Tensor shares_of(const at::Tensor& like, int splits) {
  if (splits == 1) return at::empty(like.sizes(), like.options());
  std::vector<std::int64_t> sizes = like.sizes().vec();
  sizes.insert(sizes.begin(), splits);
  return at::empty(sizes, like.options().dtype(at::kFloat));
}

at::Tensor sum_of_shares(const at::Tensor& shares, const at::Tensor& like) {
  return shares.dim() == like.dim() ? shares : shares.sum(0).to(like.scalar_type());
}

// No state goes from part to part, and no line wants one.
SsdStates nothing_passed(const SsdInputs& in) {
  const at::TensorOptions fp32 = in.x.options().dtype(at::kFloat);
  SsdStates s;
  s.ends = {at::empty({0, in.x.size(2), in.x.size(3), in.B.size(3)}, fp32), at::empty({0, in.x.size(2)}, fp32)};
  return s;
}

}  // namespace

bool ssd_fits(const SsdInputs& in) {
  const bool types = in.x.scalar_type() == at::kHalf || in.x.scalar_type() == at::kBFloat16;
  return types && in.x.size(3) % 8 == 0 && in.x.size(3) <= kSsdMostSize && in.B.size(3) % 8 == 0 &&
         in.B.size(3) <= kSsdMostStates;
}

SsdStates ssd_states(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                     const SsdDevice& device) {
  const SsdParts parts = parts_of(in, segments, device);
  if (segments.finals() == 0 && !parts.joined()) return nothing_passed(in);
  return Call(in, segments, options, device, parts).ends(segments.finals(), {});
}

at::Tensor ssd_outputs(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                       const SsdStates& states, const at::Tensor& initial, const SsdDevice& device) {
  const Call call(in, segments, options, device, parts_of(in, segments, device));
  const at::Tensor y = at::empty(in.x.sizes(), in.x.options());
  const auto walk = call.walk_of_chunks(states, initial, /*leaves=*/false, {});
  ssd_walk_cuda(walk.params, device.stream);
  SsdOutputParams p{};
  p.shape = call.shape;
  p.steps = pointer(call.steps);
  p.x = rows_of(call.x);
  p.B = rows_of(call.B);
  p.C = rows_of(call.C);
  p.states = walk.states.const_data_ptr();
  p.d = pointer(call.d);
  p.y = y.mutable_data_ptr();
  p.splits = call.splits();
  ssd_output_cuda(p, device.stream);
  return y;
}

SsdStates ssd_reverse_states(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                             const at::Tensor& dy, const SsdDevice& device) {
  const SsdParts parts = parts_of(in, segments, device);
  if (segments.initials() == 0 && !parts.joined()) return nothing_passed(in);
  return Call(in, segments, options, device, parts).ends(segments.initials(), readable_rows(dy, 8, 2));
}

SsdGradients ssd_gradients(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                           const SsdBackward& backward, const SsdDevice& device) {
  const Call call(in, segments, options, device, parts_of(in, segments, device));
  const at::Tensor dy = readable_rows(backward.dy, 8, 2);
  SsdGradients g;
  g.initial = call.states(segments.initials());
  const SsdStates ends = call.parts.joined() ? call.ends(0, {}) : SsdStates{};
  const auto states = call.walk_of_chunks(ends, backward.initial, /*leaves=*/false, {}),
             gradients = call.walk_of_chunks(backward.reverse, backward.d_final, segments.initials() > 0, dy);
  ssd_both_walks_cuda({states.params, gradients.params}, device.stream);
  call.copy_left(gradients, g.initial);
  const int splits = call.splits();
  const at::Tensor dB = shares_of(in.B, splits), dC = shares_of(in.C, splits),
                   sums = call.fp32({call.shape.count, call.shape.heads, 3});
  g.x = at::empty(in.x.sizes(), in.x.options());
  g.dt = at::empty(in.dt.sizes(), in.dt.options());
  SsdGradientParams p{};
  p.shape = call.shape;
  p.of_steps = call.of_steps;
  p.steps = pointer(call.steps);
  p.x = rows_of(call.x);
  p.B = rows_of(call.B);
  p.C = rows_of(call.C);
  p.dy = rows_of(dy);
  p.states = states.states.const_data_ptr();
  p.gradients = gradients.states.const_data_ptr();
  p.d = pointer(call.d);
  p.dx = g.x.mutable_data_ptr();
  p.d_dt = g.dt.mutable_data_ptr();
  p.dB = dB.mutable_data_ptr();
  p.dC = dC.mutable_data_ptr();
  p.sums = to(sums);
  p.all_rows = segments.rows() * segments.samples();
  p.splits = splits;
  ssd_gradient_cuda(p, device.stream);
  g.B = sum_of_shares(dB, in.B);
  g.C = sum_of_shares(dC, in.C);
  const at::Tensor all = sums.sum(0);
  g.a = all.select(1, 0).to(in.a.scalar_type());
  g.d = all.select(1, 1).to(in.d.scalar_type());
  g.dt_bias = all.select(1, 2).to(in.dt_bias.scalar_type());
  return g;
}

}  // namespace ringtron::fused
