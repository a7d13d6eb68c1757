// The axes of the process grid, sets of them, and the order in which ranks run along them.
#pragma once

#include <array>
#include <initializer_list>
#include <string>

namespace ringtron {

enum class Axis { tensor, context, data, pipeline };

inline constexpr int kAxisCount = 4;

// The short name that Megatron uses: "tp", "cp", "dp", "pp".
const char* short_name(Axis axis);

// A set of axes: `Axis::data | Axis::context`. The order in which a set is written has no meaning.
class AxisSet {
 public:
  constexpr AxisSet() = default;
  constexpr AxisSet(Axis axis) : bits_(1u << static_cast<unsigned>(axis)) {}  // NOLINT: implicit on purpose

  constexpr bool contains(Axis axis) const { return (bits_ >> static_cast<unsigned>(axis) & 1u) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  // From 0 to kAxisSetCount - 1, another one for each set.
  constexpr unsigned index() const { return bits_; }
  constexpr bool operator==(const AxisSet&) const = default;
  friend constexpr AxisSet operator|(AxisSet a, AxisSet b) { return from_bits(a.bits_ | b.bits_); }
  friend constexpr AxisSet operator&(AxisSet a, AxisSet b) { return from_bits(a.bits_ & b.bits_); }
  friend constexpr AxisSet operator-(AxisSet a, AxisSet b) { return from_bits(a.bits_ & ~b.bits_); }

 private:
  static constexpr AxisSet from_bits(unsigned bits) {
    AxisSet set;
    set.bits_ = bits;
    return set;
  }

  unsigned bits_ = 0;
};

constexpr AxisSet operator|(Axis a, Axis b) { return AxisSet(a) | AxisSet(b); }

inline constexpr unsigned kAxisSetCount = 1u << kAxisCount;

// The ranks that hold the same weights and see other tokens: gradients, the loss and token counts are summed over them.
inline constexpr AxisSet kDataContextAxes = Axis::data | Axis::context;

// "tp-dp" and so on, always in the order tp, cp, dp, pp; "none" for the empty set.
std::string to_string(AxisSet axes);

// Which axis runs fastest as the rank number grows, then which next. tp_cp_pp_dp is Megatron's
// --use-tp-pp-dp-mapping.
enum class RankOrder { tp_cp_dp_pp, tp_cp_pp_dp };

// The axes from fastest to slowest.
constexpr std::array<Axis, kAxisCount> axes_in_order(RankOrder order) {
  if (order == RankOrder::tp_cp_dp_pp) return {Axis::tensor, Axis::context, Axis::data, Axis::pipeline};
  return {Axis::tensor, Axis::context, Axis::pipeline, Axis::data};
}

}  // namespace ringtron
