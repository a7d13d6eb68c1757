#include "ringtron/checkpoint/compare_checkpoints.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "ringtron/base/text.h"
#include "ringtron/checkpoint/checkpoint_reader.h"
#include "ringtron/checkpoint/describe_checkpoint.h"
#include "ringtron/checkpoint/element_values.h"

namespace ringtron {
namespace {

constexpr std::size_t kLongestName = 400;      // as shown
constexpr std::size_t kLongestValue = 200;     // of a field, as shown
constexpr std::int64_t kElements = 1LL << 22;  // of a tensor that are compared at a time

// "configuration.lr" and the like to the text of the value; a list is one value.
void flatten(const nlohmann::json& value, const std::string& name, std::map<std::string, std::string>& out) {
  if (!value.is_object() || value.empty()) {
    out[name] = value.dump();
    return;
  }
  for (const auto& [key, member] : value.items()) flatten(member, name.empty() ? key : name + '.' + key, out);
}

// One line a field, with both values.
std::vector<std::string> differing_fields(const CheckpointReader& first, const CheckpointReader& second) {
  std::map<std::string, std::string> a, b;
  flatten(first.metadata(), "", a);
  flatten(second.metadata(), "", b);
  std::set<std::string> names;
  for (const auto& [name, value] : a) names.insert(name);
  for (const auto& [name, value] : b) names.insert(name);
  std::vector<std::string> lines;
  for (const std::string& name : names) {
    const auto in_a = a.find(name), in_b = b.find(name);
    if (in_a != a.end() && in_b != b.end() && in_a->second == in_b->second) continue;
    const auto text = [](const auto& at, const auto& fields) {
      return at == fields.end() ? std::string("(none)") : excerpt(at->second, kLongestValue);
    };
    lines.push_back(fmt::format("{}: {} | {}", excerpt(name, kLongestName), text(in_a, a), text(in_b, b)));
  }
  return lines;
}

struct ValueDifference {
  std::int64_t count = 0;         // elements that differ
  std::int64_t not_a_number = 0;  // of these: one of the two is NaN, or both are with other bits, or infinite
  double greatest = 0.0;          // of the others
  std::int64_t at = -1;           // its element, row-major
};

// Elements of two tensors, in their order from element `begin` on. Of one type two elements are equal if their bits
// are.
void add_differences(ValueDifference& out, const std::vector<double>& a, const std::vector<double>& b,
                     const std::vector<bool>& same, std::int64_t begin) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (same[i]) continue;
    ++out.count;
    const double difference = std::abs(a[i] - b[i]);
    if (!std::isfinite(difference)) {
      ++out.not_a_number;
    } else if (out.at < 0 || difference > out.greatest) {
      out.greatest = difference;
      out.at = begin + static_cast<std::int64_t>(i);
    }
  }
}

// Of a tensor that both have, in one shape.
ValueDifference differing_values(CheckpointReader& first, CheckpointReader& second, const std::string& name) {
  const TensorEntry &a = first.tensor(name), &b = second.tensor(name);
  const Slab whole = whole_slab(a.shape);
  const std::int64_t elements = element_count(a.shape).value_or(0);
  ValueDifference out;
  if (elements == 0) return out;
  const std::int64_t row = elements / whole.length, rows = std::max<std::int64_t>(1, kElements / row);
  const std::size_t a_size = size_of(a.dtype), b_size = size_of(b.dtype);
  for (std::int64_t begin = 0; begin < whole.length; begin += rows) {
    const Slab slab{0, begin, std::min(rows, whole.length - begin)};
    const auto count = static_cast<std::size_t>(slab.length * row);
    std::vector<std::byte> in_a(count * a_size), in_b(count * b_size);
    first.read_slice(name, slab, in_a);
    second.read_slice(name, slab, in_b);
    if (a.dtype == b.dtype && in_a == in_b) continue;
    const auto values_a = element_values(in_a, a.dtype), values_b = element_values(in_b, b.dtype);
    std::vector<bool> same(count);
    for (std::size_t i = 0; i < count; ++i) {
      same[i] = a.dtype == b.dtype ? std::memcmp(in_a.data() + i * a_size, in_b.data() + i * a_size, a_size) == 0
                                   : values_a[i] == values_b[i];
    }
    add_differences(out, values_a, values_b, same, begin * row);
  }
  return out;
}

// "[3, 5]" for element 17 of shape [4, 6] counted from 0.
std::string place_of(std::int64_t element, const Shape& shape) {
  Shape place(shape.size());
  for (std::size_t d = shape.size(); d-- > 0; element /= shape[d]) place[d] = element % shape[d];
  return to_string(place);
}

std::string line_of(const std::string& name, const TensorEntry& entry, const ValueDifference& values) {
  std::string text =
      fmt::format("{}  {} {}: {} of {} elements differ", excerpt(name, kLongestName), name_of(entry.dtype),
                  to_string(entry.shape), values.count, element_count(entry.shape).value_or(0));
  if (values.at >= 0)
    text += fmt::format(", by at most {:.6g} at {}", values.greatest, place_of(values.at, entry.shape));
  if (values.not_a_number > 0) text += fmt::format(", {} of them by what is no number", values.not_a_number);
  return text;
}

// The tensors of both, sorted into lists.
struct TensorDifferences {
  std::vector<std::string> first_only, second_only, shapes, types, values;
  int equal = 0;
};

TensorDifferences differing_tensors(CheckpointReader& first, CheckpointReader& second) {
  TensorDifferences out;
  std::set<std::string, bool (*)(std::string_view, std::string_view)> names(in_layer_order);
  for (const auto& [name, entry] : first.manifest().tensors) names.insert(name);
  for (const auto& [name, entry] : second.manifest().tensors) names.insert(name);
  for (const std::string& name : names) {
    const std::string shown = excerpt(name, kLongestName);
    if (!first.has(name) || !second.has(name)) {
      const TensorEntry& entry = first.has(name) ? first.tensor(name) : second.tensor(name);
      (first.has(name) ? out.first_only : out.second_only)
          .push_back(fmt::format("{}  {} {}", shown, name_of(entry.dtype), to_string(entry.shape)));
      continue;
    }
    const TensorEntry &a = first.tensor(name), &b = second.tensor(name);
    if (a.shape != b.shape) {
      out.shapes.push_back(fmt::format("{}  {} | {}", shown, to_string(a.shape), to_string(b.shape)));
      continue;
    }
    if (a.dtype != b.dtype) out.types.push_back(fmt::format("{}  {} | {}", shown, name_of(a.dtype), name_of(b.dtype)));
    const ValueDifference values = differing_values(first, second, name);
    if (values.count > 0) {
      out.values.push_back(line_of(name, a, values));
    } else {
      out.equal += a.dtype == b.dtype;
    }
  }
  return out;
}

void add_list(std::string& text, const char* what, const std::vector<std::string>& lines) {
  if (lines.empty()) return;
  fmt::format_to(std::back_inserter(text), "{}: {}\n", what, lines.size());
  for (const std::string& line : lines) text += "  " + line + '\n';
}

}  // namespace

CheckpointDifference compare_checkpoints(const std::filesystem::path& first_folder,
                                         const std::filesystem::path& second_folder) {
  CheckpointDifference out;
  CheckpointReader first(choose_checkpoint(first_folder, out.text));
  CheckpointReader second(choose_checkpoint(second_folder, out.text));
  for (const auto& [which, reader] : {std::pair{"first", &first}, {"second", &second}}) {
    fmt::format_to(std::back_inserter(out.text), "{}: {}, iteration {}, {} tensors\n", which,
                   excerpt(reader->folder().string(), kLongestName), reader->iteration(),
                   reader->manifest().tensors.size());
  }
  const auto fields = differing_fields(first, second);
  const TensorDifferences tensors = differing_tensors(first, second);
  add_list(out.text, "metadata that differs", fields);
  add_list(out.text, "tensors of the first alone", tensors.first_only);
  add_list(out.text, "tensors of the second alone", tensors.second_only);
  add_list(out.text, "tensors of another shape, not compared further", tensors.shapes);
  add_list(out.text, "tensors of another type", tensors.types);
  add_list(out.text, "tensors with other values", tensors.values);
  fmt::format_to(std::back_inserter(out.text), "tensors that are equal: {}\n", tensors.equal);
  out.is_none = fields.empty() && tensors.first_only.empty() && tensors.second_only.empty() && tensors.shapes.empty() &&
                tensors.types.empty() && tensors.values.empty();
  return out;
}

}  // namespace ringtron
