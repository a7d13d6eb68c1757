#include "ringtron/mamba_context_parallel/context_scan.h"

#include <ATen/ATen.h>

#include "ringtron/kernels/causal_conv/causal_conv.h"
#include "ringtron/kernels/device/device_table.h"
#include "ringtron/kernels/ssd_scan/ssd_scan.h"
#include "ringtron/mamba_context_parallel/scan_heads.h"
#include "ringtron/mamba_context_parallel/state_passing.h"

namespace ringtron {
namespace {

// Convolution and scan of rows that are here.
at::Tensor scan(const at::Tensor& xbc, const at::Tensor& dt, const at::Tensor& halo, const ScanParameters& p,
                const ScanSizes& z, const std::shared_ptr<const ScanSegments>& segments,
                const std::shared_ptr<SsdExchange>& exchange, const at::Tensor& group_of_head,
                const ScanPlaces& places = {}) {
  const std::int64_t s = xbc.size(0), b = xbc.size(1);
  const at::Tensor mixed = causal_conv(xbc, p.conv_weight, p.conv_bias, halo, segments, places.xbc);
  const auto [parts, of_parts] = split_joined(mixed, {z.inner(), z.shared(), z.shared()});
  const auto by_group = [&](const at::Tensor& x) {
    const at::Tensor groups = x.view({s, b, z.groups, z.state_size});
    return group_of_head.defined() ? groups.index_select(2, group_of_head) : groups;
  };
  const SsdInputs in{
      parts[0].view({s, b, z.heads, z.head_size}), dt, by_group(parts[1]), by_group(parts[2]), p.a, p.d, p.dt_bias};
  const bool by_groups = !group_of_head.defined();
  const SsdPlaces to{of_parts[0], places.dt, by_groups ? of_parts[1] : GradientPlace{},
                     by_groups ? of_parts[2] : GradientPlace{}};
  return ssd_scan(in, segments, {}, exchange, to).flatten(2);
}

at::Tensor no_halo(const at::Tensor& xbc, const ScanParameters& p) {
  return at::zeros({0, p.conv_weight.size(2) - 1, xbc.size(2)}, xbc.options());
}

// Rows of `x` along dim 0, which counts channels of x, B and C, that belong to a share.
at::Tensor channels_of(const at::Tensor& x, const HeadShare& share, const ScanSizes& z) {
  const std::int64_t from = share.kv.begin * z.state_size, count = share.kv.length() * z.state_size;
  return at::cat({x.narrow(0, share.q.begin * z.head_size, share.q.length() * z.head_size),
                  x.narrow(0, z.inner() + from, count), x.narrow(0, z.inner() + z.shared() + from, count)});
}

at::Tensor scan_of_heads(const at::Tensor& xbc, const at::Tensor& dt, const ScanParameters& p, const ScanSizes& z,
                         Communicator& group, const ScanShape& shape) {
  const std::int64_t s = xbc.size(0), b = xbc.size(1);
  const auto sharing = c10::make_intrusive<HeadSharing>(group, shape.layout, z.heads, z.groups);
  const auto parts = xbc.split_with_sizes({z.inner(), z.shared(), z.shared()}, 2);
  const auto by_group = [&](const at::Tensor& x) { return x.view({s, b, z.groups, z.state_size}); };
  const ScanHeads mine = to_heads({at::cat({parts[0].view({s, b, z.heads, z.head_size}), dt.unsqueeze(-1)}, 3),
                                   at::cat({by_group(parts[1]), by_group(parts[2])}, 3)},
                                  sharing);
  const HeadShare& share = sharing->own();
  const at::Tensor x = mine.of_heads.narrow(3, 0, z.head_size);
  if (share.q.empty()) return to_sequence(x, sharing).flatten(2);  // of no heads
  const at::Tensor whole = at::cat({x.flatten(2), mine.of_groups.narrow(3, 0, z.state_size).flatten(2),
                                    mine.of_groups.narrow(3, z.state_size, z.state_size).flatten(2)},
                                   2);
  const auto heads = [&share](const at::Tensor& t) { return t.narrow(0, share.q.begin, share.q.length()); };
  const ScanParameters own{channels_of(p.conv_weight, share, z), channels_of(p.conv_bias, share, z), heads(p.a),
                           heads(p.d), heads(p.dt_bias)};
  at::Tensor group_of_head;  // of a share whose groups have not equally many heads
  if (!is_regular(share, z.heads / z.groups)) {
    group_of_head = index_table(key_head_of_query_head(share, z.heads / z.groups), xbc.device());
  }
  const ScanSizes sizes{share.q.length(), z.head_size, share.kv.length(), z.state_size};
  const at::Tensor y = scan(whole, mine.of_heads.select(3, z.head_size), no_halo(whole, own), own, sizes, shape.whole,
                            nullptr, group_of_head);
  return to_sequence(y.unflatten(2, {sizes.heads, z.head_size}), sharing).flatten(2);
}

}  // namespace

at::Tensor context_scan(const at::Tensor& xbc, const at::Tensor& dt, const ScanParameters& parameters,
                        const ScanSizes& sizes, ScanWay way, Communicator& group,
                        const std::shared_ptr<const ScanShape>& shape, const ScanPlaces& places) {
  if (way == ScanWay::heads && group.size() > 1) return scan_of_heads(xbc, dt, parameters, sizes, group, *shape);
  if (shape->plan.links.empty()) {
    return scan(xbc, dt, no_halo(xbc, parameters), parameters, sizes, shape->own, nullptr, {}, places);
  }
  const WithHalo both = with_halo(xbc, parameters.conv_weight.size(2) - 1, group, shape);
  return scan(both.x, dt, both.halo, parameters, sizes, shape->own, make_state_passing(group, shape), {}, places);
}

}  // namespace ringtron
