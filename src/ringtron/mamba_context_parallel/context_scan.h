// The convolution and the scan of a Mamba layer over a sequence that many ranks share. The front door of this folder.
//
// Two ways. States (state_passing.h): each rank scans its own rows and ranks pass on what documents end with where
// they go over; bytes do not depend on the length. Heads (scan_heads.h): ranks exchange sequence for heads and each
// scans all rows of some. The result is that of one process that holds the whole sequence, for any layout, documents
// and length.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "ringtron/comm/communicator.h"
#include "ringtron/kernels/device/joined_gradient.h"
#include "ringtron/mamba_context_parallel/scan_bytes.h"
#include "ringtron/mamba_context_parallel/scan_shape.h"

namespace ringtron {

// Of all heads that this rank's sequence group has.
struct ScanParameters {
  at::Tensor conv_weight;    // [inner + 2 shared, 1, width]
  at::Tensor conv_bias;      // [inner + 2 shared]
  at::Tensor a, d, dt_bias;  // [heads], as SsdInputs says
};

// Where the gradients of xbc and dt may be written.
struct ScanPlaces {
  GradientPlace xbc, dt;
};

// xbc: [s_local, b, inner + 2 shared]: x of all heads, B and C of all groups; dt: [s_local, b, heads]; rows as the
// shape says, possibly none. Returns y: [s_local, b, inner] in xbc's type, with autograd for all tensors; gradients of
// the parameters are this rank's share of a sum over the group. All ranks of the group call it, and later backward, in
// the same order; the group must outlive the graph. A group of one sends nothing. Throws CommError when another rank
// dies or does not come.
at::Tensor context_scan(const at::Tensor& xbc, const at::Tensor& dt, const ScanParameters& parameters,
                        const ScanSizes& sizes, ScanWay way, Communicator& group,
                        const std::shared_ptr<const ScanShape>& shape, const ScanPlaces& places = {});

}  // namespace ringtron
