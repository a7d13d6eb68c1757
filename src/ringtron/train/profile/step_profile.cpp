#include "ringtron/train/profile/step_profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace ringtron {
namespace {

struct NameOfClass {
  std::string_view part;  // of the name
  std::string_view kind;
};

// The first that fits. Our kernels are told by the types of their arguments, which their names end with.
constexpr NameOfClass kNames[] = {
    {"nccl", "messages"},
    {"Memcpy PtoP", "messages"},
    {"gloo:", "messages"},
    {"c10d::", "messages"},
    {"Adamw", "optimizer"},
    {"SumOfSquares", "optimizer"},
    {"_fused_adam", "optimizer"},
    {"FusedAttention", "attention"},
    {"AttentionDropout", "attention"},
    {"cudnn", "attention"},
    {"sdpa", "attention"},
    {"flash", "attention"},
    {"fmha", "attention"},
    {"scaled_dot_product", "attention"},
    {"SoftmaxMerge", "merge of attention"},
    {"SumParts", "merge of attention"},
    {"Norm", "norm, residual, dropout"},
    {"_norm", "norm, residual, dropout"},
    {"Dropout", "norm, residual, dropout"},
    {"ActivationParams", "activation"},
    {"gelu", "activation"},
    {"silu", "activation"},
    {"Qkv", "split of qkv, rotary"},
    {"CopyRows", "rows copied"},
    {"CrossEntropy", "cross entropy"},
    {"gemm", "matrix products"},
    {"nvjet", "matrix products"},
    {"cutlass", "matrix products"},
    {"cublas", "matrix products"},
    {"aten::mm", "matrix products"},
    {"aten::addmm", "matrix products"},
    {"aten::bmm", "matrix products"},
    {"aten::linear", "matrix products"},
    {"aten::matmul", "matrix products"},
    {"embedding", "embedding"},
    {"indexing_backward", "embedding"},
    {"Memcpy", "copies, fills"},
    {"Memset", "copies, fills"},
    {"aten::copy_", "copies, fills"},
    {"aten::fill_", "copies, fills"},
    {"aten::zero_", "copies, fills"},
    {"at::native", "other operations of LibTorch"},
    {"aten::", "other operations of LibTorch"},
};

double seconds(std::int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-9; }

// Of each event its time without that of the events inside it, in its lane.
std::vector<std::int64_t> own_times(std::span<const ProfiledEvent> events) {
  std::vector<std::size_t> order(events.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    const ProfiledEvent &x = events[a], &y = events[b];
    if (x.lane != y.lane) return x.lane < y.lane;
    return x.begin != y.begin ? x.begin < y.begin : x.end > y.end;
  });
  std::vector<std::int64_t> own(events.size());
  std::vector<std::size_t> open;  // around the one at work
  for (const std::size_t i : order) {
    own[i] = events[i].end - events[i].begin;
    while (!open.empty() &&
           (events[open.back()].lane != events[i].lane || events[open.back()].end <= events[i].begin)) {
      open.pop_back();
    }
    if (!open.empty()) own[open.back()] -= own[i];
    open.push_back(i);
  }
  return own;
}

std::int64_t busy_time(std::span<const ProfiledEvent> events) {
  std::vector<std::pair<std::int64_t, std::int64_t>> spans;
  for (const ProfiledEvent& e : events) spans.emplace_back(e.begin, e.end);
  std::ranges::sort(spans);
  std::int64_t sum = 0, until = spans.empty() ? 0 : spans.front().first;
  for (const auto& [begin, end] : spans) {
    sum += std::max<std::int64_t>(0, end - std::max(begin, until));
    until = std::max(until, end);
  }
  return sum;
}

std::vector<ProfileRow> rows_of(const std::map<std::string, ProfileRow>& by_name) {
  std::vector<ProfileRow> rows;
  for (const auto& [name, row] : by_name) rows.push_back(row);
  std::ranges::stable_sort(rows, [](const ProfileRow& a, const ProfileRow& b) { return a.seconds > b.seconds; });
  return rows;
}

// What tells a name apart from others: without return types, namespaces and what stands in <>.
std::string shown(std::string_view name) {
  std::string text(name);
  for (const std::string_view noise : {"void ", "(anonymous namespace)::", "{anonymous}::", "ringtron::",
                                       "at::native::", "torch::autograd::", "cudnn::fusion::", "CppNode"}) {
    for (std::size_t at = text.find(noise); at != std::string::npos; at = text.find(noise))
      text.erase(at, noise.size());
  }
  return text;
}

std::string table_line(std::string_view name, double seconds, std::int64_t events, int steps, double wall) {
  return fmt::format("  {:<46} {:10.3f} {:6.1f} {:9.1f}", name.substr(0, 46), seconds / steps * 1e3,
                     wall > 0.0 ? 100.0 * seconds / wall : 0.0, static_cast<double>(events) / steps);
}

}  // namespace

std::string_view class_of_event(std::string_view name) {
  for (const NameOfClass& row : kNames) {
    if (name.find(row.part) != std::string_view::npos) return row.kind;
  }
  return "others";
}

StepProfile profile_of(std::span<const ProfiledEvent> events) {
  const std::vector<std::int64_t> own = own_times(events);
  std::map<std::string, ProfileRow> classes, names;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const auto add = [&](std::map<std::string, ProfileRow>& to, std::string_view name) {
      ProfileRow& row = to[std::string(name)];
      row.name = name;
      row.seconds += seconds(own[i]);
      ++row.events;
    };
    add(classes, class_of_event(events[i].name));
    add(names, events[i].name);
  }
  return {rows_of(classes), rows_of(names), seconds(busy_time(events))};
}

std::vector<std::string> profile_table(const StepProfile& profile, int steps, double wall, std::size_t most) {
  std::vector<std::string> lines = {fmt::format("  {:<46} {:>10} {:>6} {:>9}", "of one step", "ms", "%", "events")};
  std::int64_t events = 0;
  for (const ProfileRow& row : profile.classes) {
    events += row.events;
    lines.push_back(table_line(row.name, row.seconds, row.events, steps, wall));
  }
  lines.push_back(table_line("nothing runs", std::max(0.0, wall - profile.busy), 0, steps, wall));
  lines.push_back(table_line("the step", wall, events, steps, wall));
  lines.push_back("  the longest by name:");
  for (std::size_t i = 0; i < std::min(most, profile.events.size()); ++i) {
    const ProfileRow& row = profile.events[i];
    lines.push_back(table_line(shown(row.name), row.seconds, row.events, steps, wall));
  }
  return lines;
}

}  // namespace ringtron
