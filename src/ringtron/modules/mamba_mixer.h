// The mixer of a Mamba-2 layer: input projection to z, x, B, C and dt, causal convolution of x, B and C, state-space
// scan, norm of the result gated by z, output projection.
#pragma once

#include <memory>

#include "ringtron/comm/decorators/counting_communicator.h"
#include "ringtron/mamba_context_parallel/context_scan.h"
#include "ringtron/mamba_context_parallel/scan_bytes.h"
#include "ringtron/modules/build_context.h"
#include "ringtron/modules/layer_options.h"
#include "ringtron/modules/step_context.h"
#include "ringtron/tensor_parallel/linear.h"

namespace ringtron {

class MambaMixer {
 public:
  // `parameters`: those within "decoder.layers.3.mixer.".
  MambaMixer(const BuildContext& build, const MambaOptions& options, const LayerSpec& layer,
             const NamedParameters& parameters);

  // x: [s, b, h] in the sequence region; the result too, without dropout and residual. Heads and groups are divided
  // over the tensor group, each rank's norm is over its own groups.
  at::Tensor forward(const LinearInput& x, const StepContext& step) const;

 private:
  // What in_proj gives: xbc: [s, b, conv channels], dt: [s, b, heads] to y: [s, b, heads * head size].
  at::Tensor scanned(const at::Tensor& xbc, const at::Tensor& dt, const ScanPlaces& places,
                     const StepContext& step) const;

  // What a forward with these rows and its backward send within the context group.
  ScanBytes bytes_of(const at::Tensor& xbc, const ScanShape& shape) const;

  Communicator& tensor_group_;
  ExchangeProof& proof_;
  std::unique_ptr<CountingCommunicator> context_group_;  // adds what it sends to the proof
  MambaOptions options_;
  LayerSpec layer_;
  std::int64_t heads_, groups_;  // of this rank
  Parameter *in_weight_, *conv_weight_, *conv_bias_, *dt_bias_, *a_log_, *d_, *norm_weight_, *out_weight_;
};

}  // namespace ringtron
