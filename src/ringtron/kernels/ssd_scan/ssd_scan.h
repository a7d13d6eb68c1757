// The state-space scan of Mamba-2 (SSD: Dao and Gu, 2024), in chunks, with room for an exchange of states between
// ranks.
//
// Of each head, along a segment, with time steps t_i = clamp(softplus(dt_i + dt_bias)) and a state S of [p, n]:
//   S_i = exp(t_i a) S_(i-1) + t_i x_i B_i^T        y_i = S_i C_i + d x_i
// Head h reads B and C of group h / (heads / groups).
//
// The work is divided so that ranks can pass states on between two halves, each of which sees every token once:
//   forward   ssd_states: chunks from zero, what segments end with  -> exchange ->  ssd_outputs: y
//   backward  ssd_backward_states: the same, and of gradients from the end, of dy alone -> exchange -> ssd_gradients
// ssd_scan() is all four as one autograd function that keeps the inputs and the initial states, not the chunks' states.
// Sums, decays and states are fp32 (fp64 for fp64); results are rounded once. On a GPU kernels take rows of fp16 and
// bf16 with p up to 64 and n up to 128, both multiples of 8; they round what they multiply to the type of the rows, as
// matrix products of such tensors do.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <memory>

#include "ringtron/kernels/device/joined_gradient.h"
#include "ringtron/kernels/scan_segments/scan_segments.h"

namespace ringtron {

// Rows as the segments say. x, dt, B and C of one type; a, d and dt_bias of any, read wide.
struct SsdInputs {
  at::Tensor x;        // [s, b, h, p]
  at::Tensor dt;       // [s, b, h], before bias and softplus
  at::Tensor B, C;     // [s, b, g, n]; h a multiple of g
  at::Tensor a;        // [h], negative: the logarithm of the decay in a unit of time
  at::Tensor d;        // [h]
  at::Tensor dt_bias;  // [h]
};

struct SsdOptions {
  double least_step = 0.0, most_step = std::numeric_limits<double>::infinity();  // limits of t
  std::int64_t chunk = 128;  // rows whose products with each other are made at once; no result depends on it
};

// What segments have at an end, in wide type; lines as ScanSegment numbers them.
struct SsdEnds {
  at::Tensor state;      // [lines, h, p, n]
  at::Tensor log_decay;  // [lines, h]: of the whole segment; what enters it leaves it times exp(log_decay)
};

// What the first half of a pass leaves to the second, which may work on it in place: for one call. Only the functions
// below look into what is not `ends`.
struct SsdStates {
  SsdEnds ends;
  at::Tensor chunks;   // [chunks, h, p, n]: what each adds to the state that passes through it; of kernels: what enters
  SsdEnds parts = {};  // of kernels: of pieces of segments, decays to base 2
  at::Tensor steps = {};  // of kernels: time steps and decays of rows
};

struct SsdBackwardStates {
  SsdStates states, gradients;  // of `states` the ends are not made
};

// Where gradients may be written.
struct SsdPlaces {
  GradientPlace x, dt, B, C;
};

struct SsdGradients {
  at::Tensor x, dt, B, C, a, d, dt_bias;  // in the types of the inputs
  at::Tensor initial;                     // [initials, h, p, n]
};

// `ends`: of each segment with a final line, as if all segments began from zero.
SsdStates ssd_states(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options);

// `states`: what ssd_states returned; initial: [initials, h, p, n], wide. Returns y: [s, b, h, p] in x's type.
at::Tensor ssd_outputs(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options, SsdStates&& states,
                       const at::Tensor& initial);

// Makes the states of the forward again. Ends of `gradients`: of each segment with an initial line, the gradient of its
// initial state through this segment's own dy.
SsdBackwardStates ssd_backward_states(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                                      const at::Tensor& dy);

// `states`: what ssd_backward_states returned; d_final: [finals, h, p, n], gradients of the final states.
SsdGradients ssd_gradients(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                           const at::Tensor& initial, const at::Tensor& dy, SsdBackwardStates&& states,
                           const at::Tensor& d_final, const SsdPlaces& places = {});

// How segments that continue a document get their initial states. Both are called once in each pass, in the order of
// the layers and of their backward; messages may be sent in them.
class SsdExchange {
 public:
  virtual ~SsdExchange() = default;
  // Of the final lines, from zero -> [initials, h, p, n], true.
  virtual at::Tensor initial_states(const SsdEnds& finals) = 0;
  // Of the initial lines, through their own segments -> [finals, h, p, n]: gradients of the final states, whole.
  virtual at::Tensor final_gradients(const SsdEnds& initials) = 0;
};

// y: [s, b, h, p] in x's type, with autograd for all inputs. `exchange` null: only where no segment continues a
// document; final states are then not asked for.
at::Tensor ssd_scan(const SsdInputs& in, const std::shared_ptr<const ScanSegments>& segments, const SsdOptions& options,
                    const std::shared_ptr<SsdExchange>& exchange = nullptr, const SsdPlaces& places = {});

}  // namespace ringtron
