// Context-parallel attention alone, without model or training: every rank holds its rows of q, k and v, gets its rows
// of the output and of the gradients, and compares both with one process that holds the whole sequence.
//
//   ringrun --nproc-per-node 4 cp_attention [p2p | all_gather | a2a]
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <cstdio>

#include "ringtron/comm/parallel_state.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/ringtron.h"
#include "ringtron/train/start_up/before_rendezvous.h"

using namespace ringtron;

namespace {

constexpr std::int64_t kLength = 131, kSamples = 2, kHeads = 4, kGroups = 2, kSize = 16;  // no length must divide

// The same numbers on every rank.
at::Tensor whole(double frequency, std::int64_t heads) {
  const at::Tensor numbers = at::arange(kLength * kSamples * heads * kSize, at::kDouble);
  return at::sin(numbers * frequency).reshape({kLength, kSamples, heads, kSize});
}

// Causal attention of the whole sequence by plain operations.
at::Tensor reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const auto heads_first = [](const at::Tensor& x) {
    return x.repeat_interleave(kHeads / x.size(2), 2).permute({1, 2, 0, 3});
  };
  const at::Tensor scores = at::matmul(heads_first(q), heads_first(k).transpose(-1, -2)) / std::sqrt(double{kSize});
  const at::Tensor hidden = at::ones({kLength, kLength}, at::kBool).triu(1);
  return at::matmul(at::softmax(scores.masked_fill(hidden, -INFINITY), -1), heads_first(v)).permute({2, 0, 1, 3});
}

void attend(Program& program) {
  const LaunchEnvironment& environment = program.environment();
  const Rendezvous rendezvous(rendezvous_options(environment));
  const ParallelState parallel(ProcessGrid({.context = environment.world_size}), Backend::gloo, rendezvous);
  const SequenceLayout layout = zigzag_layout(kLength, parallel.cp_size());
  const auto attention = make_cp_attention(parallel.context(), layout);

  AttentionCall call;
  call.scale = 1.0 / std::sqrt(double{kSize});
  call.transport = program.arguments().empty() ? CpTransport::p2p : transport_of(program.arguments()[0]);

  const std::vector<std::int64_t> positions = positions_in(layout.of(parallel.cp_rank()));
  const at::Tensor rows = at::tensor(positions, at::kLong);
  const auto leaf = [](const at::Tensor& x) { return x.detach().clone().requires_grad_(); };
  const at::Tensor all[] = {leaf(whole(0.37, kHeads)), leaf(whole(0.71, kGroups)), leaf(whole(1.13, kGroups))};
  const at::Tensor own[] = {leaf(all[0].index_select(0, rows)), leaf(all[1].index_select(0, rows)),
                            leaf(all[2].index_select(0, rows))};
  const at::Tensor gradient = whole(0.53, kHeads);

  const at::Tensor out = attention->forward(own[0], own[1], own[2], call);
  torch::autograd::backward({out}, {gradient.index_select(0, rows)});
  const at::Tensor expected = reference(all[0], all[1], all[2]);
  torch::autograd::backward({expected}, {gradient});

  at::Tensor worst = (out - expected.index_select(0, rows)).abs().max().detach();
  for (int i = 0; i < 3; ++i) {
    worst = at::maximum(worst, (own[i].grad() - all[i].grad().index_select(0, rows)).abs().max());
  }
  parallel.world().all_reduce(worst, ReduceOp::max).wait();  // of all ranks
  if (parallel.rank() == 0) {
    std::printf("%d ranks, %s: largest difference %.1e\n", parallel.cp_size(),
                std::string(to_text(call.transport)).c_str(), worst.item<double>());
  }
  if (!(worst.item<double>() < 1e-12)) throw std::logic_error("attention over ranks differs from one process");
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, attend); }
