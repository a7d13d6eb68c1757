// State passing: how ranks go on with each other's scans, and with each other's convolution, at the price of a few
// states and rows, whatever the length of the sequence.
//
// Each rank scans its pieces from zero. Then each gets, of its share of the heads, what all pieces end with, passes it
// on from piece to piece, and returns to each rank what its pieces begin with: two exchange() calls, in which a rank
// sends less than two states for each of its pieces, however many ranks there are. In the backward pass gradients go
// the other way. The convolution's rows before a piece go straight to it in one. Nothing is sent where no document is
// in two pieces. All ranks of the group call in the same order, forward and backward; the group must outlive the graph.
// CommError when another rank dies or does not come.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "ringtron/comm/communicator.h"
#include "ringtron/kernels/ssd_scan/ssd_scan.h"
#include "ringtron/mamba_context_parallel/scan_shape.h"

namespace ringtron {

// For ssd_scan() of shape->own.
std::shared_ptr<SsdExchange> make_state_passing(Communicator& group, std::shared_ptr<const ScanShape> shape);

// For causal_conv(), which alone may use this x: it adds to the gradient that comes back for it.
struct WithHalo {
  at::Tensor x, halo;
};

// x: [s_local, b, channels]. The halo are the rows before the pieces that continue a document, [initials, count,
// channels], zeros where a document has fewer; with autograd.
WithHalo with_halo(const at::Tensor& x, std::int64_t count, Communicator& group,
                   const std::shared_ptr<const ScanShape>& shape);

}  // namespace ringtron
