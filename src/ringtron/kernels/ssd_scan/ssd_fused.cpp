#include "ringtron/kernels/ssd_scan/ssd_fused.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <utility>
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
  Call(const SsdInputs& in, const ScanSegments& segments, const SsdDevice& device)
      : x(readable_rows(in.x, 8, 2)),
        B(readable_rows(in.B, 8, 2)),
        C(readable_rows(in.C, 8, 2)),
        d(in.d.to(at::kFloat)),
        device(device),
        parts(parts_of(in, segments, device)),
        chunk_table_(device_table(parts.chunks, in.x.device())),
        part_table_(device_table(parts.parts, in.x.device())),
        run_table_(device_table(parts.runs, in.x.device())),
        dt_(readable_rows(in.dt, 1, 1)),
        a_(in.a.to(at::kFloat)),
        bias_(in.dt_bias.to(at::kFloat)) {
    shape.chunks = static_cast<const SsdChunk*>(chunk_table_.const_data_ptr());
    shape.count = static_cast<std::int64_t>(parts.chunks.size());
    shape.samples = segments.samples();
    shape.heads = static_cast<int>(x.size(2));
    shape.groups = static_cast<int>(B.size(2));
    shape.size = static_cast<int>(x.size(3));
    shape.states = static_cast<int>(B.size(3));
    shape.type = *element_of(x);
  }

  at::Tensor fp32(at::IntArrayRef sizes) const { return at::empty(sizes, x.options().dtype(at::kFloat)); }
  // [lines, heads, size, states], wide.
  at::Tensor states(std::int64_t lines) const { return fp32({lines, shape.heads, shape.size, shape.states}); }

  SsdSteps steps(const SsdOptions& options) const {
    return {dt_.const_data_ptr(),
            distance_of_rows(dt_, 1),
            pointer(a_),
            pointer(bias_),
            static_cast<float>(options.least_step),
            static_cast<float>(options.most_step)};
  }

  at::Tensor made_steps(const SsdOptions& options) const {
    const at::Tensor made = fp32({shape.count, shape.heads, kSteps, kSsdChunk});
    ssd_steps_cuda({shape, steps(options), to(made)}, device.stream);
    return made;
  }

  // A walk from zero to be made, and what it makes; of lines their ends are wanted. `dy` defined: reversed.
  struct Walk {
    SsdWalkParams params;
    SsdStates states;
  };
  Walk walk(const at::Tensor& steps, std::int64_t lines, const at::Tensor& dy) const {
    Walk w{};
    w.states.steps = steps;
    w.states.ends = {states(lines), fp32({lines, shape.heads})};
    w.states.chunks = at::empty({shape.count, shape.heads, kSsdMostSize, kSsdMostStates}, x.options());
    if (lines > 0 || parts.joined()) w.states.parts = {states(count_of_parts()), fp32({count_of_parts(), shape.heads})};
    SsdWalkParams& p = w.params;
    p.shape = shape;
    p.parts = static_cast<const SsdPart*>(part_table_.const_data_ptr());
    p.part_count = count_of_parts();
    p.steps = pointer(steps);
    p.reverse = dy.defined();
    p.rows = rows_of(p.reverse ? dy : x);
    p.shared = rows_of(p.reverse ? C : B);
    p.leaving = to(w.states.parts.state);
    p.log2_decay = to(w.states.parts.log_decay);
    p.chunk_states = w.states.chunks.mutable_data_ptr();
    return w;
  }

  // What lines end with from zero.
  void make_ends(const SsdStates& s, bool reverse) const {
    if (s.ends.state.size(0) > 0) join(s, {}, {}, s.ends, reverse);
  }

  // What enters at lines (`given`) and parts goes into the states of chunks, and with `left` to the other ends of
  // lines.
  void enter(const SsdStates& s, const at::Tensor& given, const at::Tensor& left, bool reverse) const {
    const bool enters = given.defined() && given.size(0) > 0;
    if (!enters && !parts.joined() && !left.defined()) return;
    const at::Tensor entering = states(count_of_parts());
    const SsdEnds ends{left, left.defined() ? fp32({left.size(0), shape.heads}) : at::Tensor()};
    join(s, enters ? given.to(at::kFloat).contiguous() : at::Tensor(), entering, ends, reverse);
    SsdEnterParams p{};
    p.shape = shape;
    p.parts = static_cast<const SsdPart*>(part_table_.const_data_ptr());
    p.part_count = count_of_parts();
    for (const SsdPart& part : parts.parts) p.most_chunks = std::max(p.most_chunks, part.chunks);
    p.steps = pointer(s.steps);
    p.entering = pointer(entering);
    p.chunk_states = s.chunks.mutable_data_ptr();
    p.reverse = reverse;
    ssd_enter_cuda(p, device.stream);
  }

  // Over how many blocks the heads of a group are divided.
  int splits() const {
    const std::int64_t blocks = shape.count * shape.groups, wanted = 2 * device.multiprocessors;
    return static_cast<int>(std::clamp<std::int64_t>((wanted + blocks - 1) / std::max<std::int64_t>(1, blocks), 1,
                                                     shape.heads / shape.groups));
  }

  at::Tensor x, B, C, d;
  SsdDevice device;
  SsdParts parts;
  SsdShape shape;

 private:
  std::int64_t count_of_parts() const { return static_cast<std::int64_t>(parts.parts.size()); }

  void join(const SsdStates& s, const at::Tensor& given, const at::Tensor& entering, const SsdEnds& wanted,
            bool reverse) const {
    SsdJoinParams p{};
    p.runs = static_cast<const SsdRun*>(run_table_.const_data_ptr());
    p.run_count = static_cast<std::int64_t>(parts.runs.size());
    p.elements = std::int64_t{shape.size} * shape.states;
    p.heads = shape.heads;
    p.ends = pointer(s.parts.state);
    p.log2_decay = pointer(s.parts.log_decay);
    p.given = pointer(given);
    p.entering = to(entering);
    p.wanted = to(wanted.state);
    p.log_decay = to(wanted.log_decay);
    p.reverse = reverse;
    ssd_join_cuda(p, device.stream);
  }

  at::Tensor chunk_table_, part_table_, run_table_, dt_, a_, bias_;
};

// Where kernels write the gradient of B or C that is to be in `whole`: with splits, shares of it.
at::Tensor shares_of(const at::Tensor& whole, int splits) {
  if (splits == 1) return whole;
  std::vector<std::int64_t> sizes = whole.sizes().vec();
  sizes.insert(sizes.begin(), splits);
  return at::empty(sizes, whole.options().dtype(at::kFloat));
}

void sum_shares(const at::Tensor& shares, const at::Tensor& whole) {
  if (!shares.is_same(whole)) whole.copy_(shares.sum(0));
}

}  // namespace

bool ssd_fits(const SsdInputs& in) {
  const bool types = in.x.scalar_type() == at::kHalf || in.x.scalar_type() == at::kBFloat16;
  return types && in.x.size(3) % 8 == 0 && in.x.size(3) <= kSsdMostSize && in.B.size(3) % 8 == 0 &&
         in.B.size(3) <= kSsdMostStates;
}

SsdStates ssd_states(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                     const SsdDevice& device) {
  const Call call(in, segments, device);
  Call::Walk walk = call.walk(call.made_steps(options), segments.finals(), {});
  ssd_walk_cuda(walk.params, device.stream);
  call.make_ends(walk.states, /*reverse=*/false);
  return std::move(walk.states);
}

at::Tensor ssd_outputs(const SsdInputs& in, const ScanSegments& segments, SsdStates&& states, const at::Tensor& initial,
                       const SsdDevice& device) {
  const Call call(in, segments, device);
  call.enter(states, initial, {}, /*reverse=*/false);
  const at::Tensor y = at::empty(in.x.sizes(), in.x.options());
  SsdOutputParams p{};
  p.shape = call.shape;
  p.steps = pointer(states.steps);
  p.x = rows_of(call.x);
  p.B = rows_of(call.B);
  p.C = rows_of(call.C);
  p.states = states.chunks.const_data_ptr();
  p.d = pointer(call.d);
  p.y = y.mutable_data_ptr();
  p.splits = call.splits();
  ssd_output_cuda(p, device.stream);
  return y;
}

SsdBackwardStates ssd_backward_states(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                                      const at::Tensor& dy, const SsdDevice& device) {
  const Call call(in, segments, device);
  const at::Tensor rows = readable_rows(dy, 8, 2), steps = call.made_steps(options);
  Call::Walk states = call.walk(steps, 0, {}), gradients = call.walk(steps, segments.initials(), rows);
  ssd_both_walks_cuda({states.params, gradients.params}, device.stream);
  call.make_ends(gradients.states, /*reverse=*/true);
  return {std::move(states.states), std::move(gradients.states)};
}

SsdGradients ssd_gradients(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                           SsdBackward&& backward, const SsdDevice& device) {
  const Call call(in, segments, device);
  const at::Tensor dy = readable_rows(backward.dy, 8, 2);
  const auto& [states, gradients] = backward.states;
  SsdGradients g;
  g.initial = call.states(segments.initials());
  call.enter(states, backward.initial, {}, /*reverse=*/false);
  call.enter(gradients, backward.d_final, segments.initials() > 0 ? g.initial : at::Tensor(), /*reverse=*/true);
  const auto& places = backward.places;
  g.x = places.x.like(in.x, 8);
  g.dt = places.dt.like(in.dt, 1);
  g.B = places.B.like(in.B, 8);
  g.C = places.C.like(in.C, 8);
  const int splits = call.splits();
  const at::Tensor dB = shares_of(g.B, splits), dC = shares_of(g.C, splits),
                   sums = call.fp32({call.shape.count, call.shape.heads, 3});
  SsdGradientParams p{};
  p.shape = call.shape;
  p.of_steps = call.steps(options);
  p.steps = pointer(states.steps);
  p.x = rows_of(call.x);
  p.B = rows_of(call.B);
  p.C = rows_of(call.C);
  p.dy = rows_of(dy);
  p.states = states.chunks.const_data_ptr();
  p.gradients = gradients.chunks.const_data_ptr();
  p.d = pointer(call.d);
  p.dx = g.x.mutable_data_ptr();
  p.d_dt = g.dt.mutable_data_ptr();
  p.dB = dB.mutable_data_ptr();
  p.dC = dC.mutable_data_ptr();
  p.dx_stride = distance_of_rows(g.x, 2);
  p.d_dt_stride = distance_of_rows(g.dt, 1);
  p.dB_stride = distance_of_rows(g.B, 2);
  p.dC_stride = distance_of_rows(g.C, 2);
  p.sums = to(sums);
  p.all_rows = segments.rows() * segments.samples();
  p.splits = splits;
  ssd_gradient_cuda(p, device.stream);
  sum_shares(dB, g.B);
  sum_shares(dC, g.C);
  const at::Tensor all = sums.sum(0);
  g.a = all.select(1, 0).to(in.a.scalar_type());
  g.d = all.select(1, 1).to(in.d.scalar_type());
  g.dt_bias = all.select(1, 2).to(in.dt_bias.scalar_type());
  return g;
}

}  // namespace ringtron::fused
