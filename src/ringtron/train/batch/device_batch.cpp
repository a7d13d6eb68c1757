#include "ringtron/train/batch/device_batch.h"

#include <ATen/ATen.h>

#include <vector>

#include "ringtron/data/micro_batch.h"
#include "ringtron/train/batch_shape.h"
#include "ringtron/train/job.h"

namespace ringtron {
namespace {

// A copy, since the batch's vectors go with it; for a GPU from pinned memory, so that the host does not wait.
at::Tensor copied(const at::Tensor& host, at::ScalarType type, at::Device device) {
  if (device.is_cpu()) return host.to(device, type, /*non_blocking=*/false, /*copy=*/true);
  const at::Tensor pinned = at::empty(host.sizes(), at::TensorOptions(type).pinned_memory(true));
  return pinned.copy_(host).to(device, type, /*non_blocking=*/true);
}

}  // namespace

DeviceBatch to_device(const MicroBatch& batch, const Job& job) {
  const auto integers = [&](const std::vector<std::int64_t>& values, at::IntArrayRef shape) {
    return copied(at::from_blob(const_cast<std::int64_t*>(values.data()), shape, at::kLong), at::kLong, job.device());
  };
  DeviceBatch out;
  out.input.tokens = integers(batch.tokens, {batch.batch, batch.length});
  out.input.labels = integers(batch.labels, {batch.batch, batch.length});
  out.input.position_ids = integers(batch.position_ids, {batch.batch, batch.length});
  out.input.positions = integers(batch.global_positions, {batch.length});
  out.input.sample_numbers = batch.sample_numbers;
  out.shape = std::static_pointer_cast<const BatchShape>(batch.made_from);
  if (out.shape) out.input.shape = out.shape->sequence;
  const at::ScalarType loss_type = job.compute_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor mask =
      at::from_blob(const_cast<float*>(batch.loss_mask.data()), {batch.batch, batch.length}, at::kFloat);
  out.loss_mask = copied(mask.t().contiguous(), loss_type, job.device());
  out.unmasked_tokens = 0;
  for (const float m : batch.loss_mask) out.unmasked_tokens += m != 0.0f;
  return out;
}

}  // namespace ringtron
