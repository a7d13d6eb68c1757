// How rotary positions turn a head's channels, without LibTorch. rotary.h computes them.
#pragma once

#include <optional>

namespace ringtron {

// YaRN: Peng et al., arXiv:2309.00071. Pairs of channels that turn often within the original length keep their
// frequency, slow ones have it divided by the factor, and between them it changes linearly with the pair's number.
struct YarnOptions {
  double factor = 1.0;
  double original_length = 4096.0;
  double beta_fast = 32.0, beta_slow = 1.0;  // turns within the original length
  bool rounded = true;                       // the range between fast and slow begins and ends at a pair
  double mscale = 1.0, mscale_all_dim = 0.0;

  // What turned channels are multiplied by, so that attention is as sharp as on shorter sequences.
  double amplitude() const;
};

struct RotaryOptions {
  int head_dim = 0;
  double percent = 1.0;  // share of the head's channels that are rotated, from the first
  double base = 10000.0;
  bool interleaved = false;     // pairs are (2i, 2i+1) instead of (i, i + dim/2)
  double interpolation = 0.0;   // positions are divided by it; 0: not
  bool llama3_scaling = false;  // low 1, high 4, original length 8192
  double llama3_factor = 8.0;
  std::optional<YarnOptions> yarn = {};
};

}  // namespace ringtron
