#include "ringtron/train/whole_tensor.h"

#include <ATen/ATen.h>

namespace ringtron {

at::Tensor whole_tensor(const Parameter& parameter, const at::Tensor& local, const ParallelState& parallel) {
  const at::NoGradGuard no_grad;
  at::Tensor whole = local.detach();
  if (parameter.is_sharded()) {
    // Each rank puts its slices into zeros; the sum over the group is exact.
    whole = at::zeros(parameter.shard.global_shape, local.options());
    for (const ShardSlice& s : parameter.shard.slices(parallel.tp_rank(), parallel.tp_size())) {
      whole.narrow(parameter.shard.dim, s.global_offset, s.length)
          .copy_(local.narrow(parameter.shard.dim, s.local_offset, s.length));
    }
    parallel.tensor().all_reduce(whole).wait();
  }
  return (parameter.real_rows < 0 ? whole : whole.narrow(0, 0, parameter.real_rows)).clone();
}

}  // namespace ringtron
