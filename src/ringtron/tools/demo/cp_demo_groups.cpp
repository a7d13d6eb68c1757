// Part 1 of cp_demo: who is in which group.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ringtron/base/log.h"
#include "ringtron/tools/demo/cp_demo_parts.h"
#include "ringtron/train/agreement.h"

namespace ringtron {
namespace {

// The global ranks that answer in `group`, in its order.
std::vector<int> members(Communicator& group, const Job& job) {
  const at::Tensor own = at::full({1}, job.rank(), at::TensorOptions().dtype(at::kLong).device(job.device()));
  at::Tensor all = at::empty({group.size()}, own.options());
  group.all_gather(own, all).wait();
  const at::Tensor on_host = all.cpu();
  std::vector<int> out;
  for (int i = 0; i < group.size(); ++i) out.push_back(static_cast<int>(on_host[i].item<std::int64_t>()));
  return out;
}

std::string braces(const std::vector<int>& ranks) { return fmt::format("{{{}}}", fmt::join(ranks, ", ")); }

}  // namespace

bool show_groups(const Job& job) {
  const ParallelState& p = job.parallel();
  const std::vector<int> tensor = members(p.tensor(), job), context = members(p.context(), job);
  const std::string line = fmt::format("  {:4}   {:7}   {:7}   {:<12}   {}", job.rank(), p.tp_rank(), p.cp_rank(),
                                       braces(tensor), braces(context));
  const std::vector<std::string> lines = gather_texts(job.world(), line);
  if (job.is_first_rank()) {
    print_line(
        "1. Groups of {} ranks: TP {} x CP {} x DP {}; tensor ranks are neighbours: cp rank = (rank / TP) % "
        "CP",
        p.world_size(), p.tp_size(), p.cp_size(), p.dp_size());
    print_line("  rank   tp rank   cp rank   tensor group   context group");
    for (const std::string& text : lines) print_line(text);
  }
  return tensor == p.grid().group_of(job.rank(), Axis::tensor) &&
         context == p.grid().group_of(job.rank(), Axis::context);
}

}  // namespace ringtron
