// How rotary positions turn a head's channels, without LibTorch. rotary.h computes them.
#pragma once

namespace ringtron {

struct RotaryOptions {
  int head_dim = 0;
  double percent = 1.0;  // share of the head's channels that are rotated, from the first
  double base = 10000.0;
  bool interleaved = false;     // pairs are (2i, 2i+1) instead of (i, i + dim/2)
  double interpolation = 0.0;   // positions are divided by it; 0: not
  bool llama3_scaling = false;  // low 1, high 4, original length 8192
  double llama3_factor = 8.0;
};

}  // namespace ringtron
