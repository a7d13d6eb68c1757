// The names of the feed-forward nonlinearities, without LibTorch. activation.h computes them.
#pragma once

namespace ringtron {

enum class Activation {
  gelu_erf,      // x * Phi(x)
  gelu_tanh,     // Hendrycks and Gimpel's tanh form, arXiv:1606.08415 section 2
  swiglu,        // silu(first half) * second half of the last dim: Shazeer, arXiv:2002.05202
  squared_relu,  // max(x, 0)^2: So et al., arXiv:2109.08668
};

}  // namespace ringtron
