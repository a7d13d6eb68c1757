// A transport that the library does not have, a way in which keys and values reach the other ranks of a sequence: here
// every rank sends its block straight to every other, one distance after the other. It is one function and one row;
// it is proven before it runs, and a training takes it by its word.
//
//   ringrun --nproc-per-node 4 new_transport --context-parallel-size 4 --cp-comm-type straight
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "ringtron/context_parallel/plan/transport.h"
#include "ringtron/context_parallel/schedule/schedule_check.h"
#include "ringtron/ringtron.h"

using namespace ringtron;

namespace {

// Step i: attend to the block of the rank that is i behind, while that of the rank i + 1 behind arrives. Backward: the
// sums of a block that was attended to go home in the next step.
ExchangePlan straight(const PlanRequest& request, int rank, bool backward) {
  const int n = request.layout.ranks();
  const auto at = [&](int distance) { return ((rank + distance) % n + n) % n; };
  ExchangePlan plan{rank, {}};
  for (int i = 0; i < n + (backward && n > 1 ? 1 : 0); ++i) {
    Step step;
    if (i < n) step.tasks = tasks_between(request, rank, at(-i));
    if (i + 1 < n) {
      append_block(step.sends, at(i + 1), Payload::key_value, rank, request.layout);
      append_block(step.receives, at(-i - 1), Payload::key_value, at(-i - 1), request.layout);
    }
    if (backward && i >= 2) {
      append_block(step.sends, at(1 - i), Payload::key_value_gradient, at(1 - i), request.layout);
      append_block(step.receives, at(i - 1), Payload::key_value_gradient, rank, request.layout);
    }
    step.communicates = i + 1 < n || (backward && i >= 2);
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

RankPlan plan_straight(const PlanRequest& request, int rank) {
  return {straight(request, rank, false), straight(request, rank, true), rank};
}

// For 1 to 8 ranks, causal and with a document in the middle: that every cell of the mask is computed once, every
// message is waited for, and every gradient arrives at its owner.
void prove(CpTransport transport) {
  std::int64_t operations = 0;
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (const std::vector<AttentionMask>& masks :
         {std::vector<AttentionMask>{{64, true}}, std::vector<AttentionMask>{{64, true, {}, {21}}}}) {
      const SequenceLayout layout = zigzag_layout(64, ranks);
      const TransportProof proof = check_transport({layout, masks}, transport, 0, 2 * ranks, ranks);
      if (!proof.faults.empty()) throw std::logic_error("the transport is wrong: " + proof.faults.front());
      operations += proof.operations;
    }
  }
  std::printf("proven: %d operations\n", static_cast<int>(operations));
}

class Squares : public Dataset {
 public:
  std::int64_t size() const override { return 64; }
  std::int64_t sequence_length() const override { return 64; }
  void read(std::int64_t sample, std::int64_t first, std::int64_t count, std::int32_t* out) const override {
    for (std::int64_t i = 0; i < count; ++i) {
      out[i] = static_cast<std::int32_t>((sample + (first + i) * (first + i)) % 100);
    }
  }
};

void train(Program& program) {
  const CpTransport transport =
      add_transport({.name = {"straight", {}}, .plan = plan_straight, .held = HeldBlocks{2, 4}});
  if (program.environment().rank == 0) prove(transport);
  const std::vector<std::string> flags = {"--num-layers",
                                          "2",
                                          "--hidden-size",
                                          "32",
                                          "--num-attention-heads",
                                          "4",
                                          "--seq-length",
                                          "64",
                                          "--max-position-embeddings",
                                          "64",
                                          "--micro-batch-size",
                                          "2",
                                          "--global-batch-size",
                                          "4",
                                          "--train-iters",
                                          "6",
                                          "--lr",
                                          "1e-2",
                                          "--tokenizer-type",
                                          "NullTokenizer",
                                          "--vocab-size",
                                          "100",
                                          "--hidden-dropout",
                                          "0",
                                          "--attention-dropout",
                                          "0"};
  Training training(program, program.flags_over(program.flags_over({}, flags)));
  const Squares dataset;
  training.read(dataset);
  while (training.iteration() < training.config()->batch.train_iters && training.ready()) {
    const StepResult result = training.step();
    char line[80];
    std::snprintf(line, sizeof line, "step %d: loss %.6f", static_cast<int>(training.iteration()),
                  result.loss.item<double>());
    training.print(line);
  }
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, train); }
