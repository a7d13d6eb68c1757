// NumPy's legacy RandomState, as far as Megatron's data order needs it: seeding, bounded integers, shuffle.
//
// RandomState(seed) is the Mersenne Twister with its usual integer seeding, so std::mt19937 gives the same
// words.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <utility>

namespace ringtron {

class NumpyRandomState {
 public:
  explicit NumpyRandomState(std::uint32_t seed) : words_(seed) {}

  // Uniform in [0, most], by masking and trying again; the number of words it uses varies.
  std::uint64_t bounded(std::uint64_t most) {
    if (most == 0) return 0;
    std::uint64_t mask = most;
    for (int shift = 1; shift < 64; shift *= 2) mask |= mask >> shift;
    while (true) {
      // Wide bounds take two words, the high one first.
      const std::uint64_t high = most > 0xFFFFFFFFull ? static_cast<std::uint64_t>(words_()) << 32 : 0;
      const std::uint64_t value = (high | words_()) & mask;
      if (value <= most) return value;
    }
  }

  // The order that numpy.random.RandomState.shuffle gives a one-dimensional array.
  template <class T>
  void shuffle(std::span<T> values) {
    for (std::size_t i = values.size(); i-- > 1;) std::swap(values[i], values[bounded(i)]);
  }

 private:
  std::mt19937 words_;
};

}  // namespace ringtron
