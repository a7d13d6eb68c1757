// The step of Muon over the ranks that hold one stage of the model between them: along the tensor, data and context
// axes.
//
// The momentum is kept as all state is, by each replica or, with a distributed optimizer, by the owner of an element.
// Only whole matrices are orthogonalised. They go in rounds, of as many matrices as ranks, largest first: rank i gets
// the i-th of a round, from one replica where all have it, else from the owners of its parts; it makes the update and
// sends each rank what that rank changes. So each matrix is orthogonalised once, the result is the same in every
// layout, and a rank has memory for a few matrices beside its state. What is no hidden matrix is another rule's.
#pragma once

#include <functional>
#include <vector>

#include "ringtron/comm/communicator.h"
#include "ringtron/optim/muon.h"
#include "ringtron/optim/update_rule.h"
#include "ringtron/parameter/bucket_plan.h"
#include "ringtron/parameter/parameter.h"

namespace ringtron {

struct StageRanks {
  struct Place {
    int tensor = 0;   // along the tensor axis
    int replica = 0;  // along data and context: the place in the group that sums gradients
  };
  Communicator* group = nullptr;  // outlives the rule
  std::vector<Place> places;      // of each rank of the group
  int tensor_size = 1;
  int replicas = 1;
  bool owners = false;  // each replica owns bucket_shards() of the plan; else all own all
};

// Makes the update of a matrix from what its momentum says; as muon_direction(). Tests give one that is wrong on
// purpose.
using Orthogonalize = std::function<at::Tensor(const at::Tensor& matrix, bool is_qkv, const MuonOptions& options)>;

struct MuonSetup {
  MuonOptions options;
  StageRanks ranks;
  Orthogonalize orthogonalize = muon_direction;
};

class MuonRule final : public UpdateRule {
 public:
  // `parameters` are the stage's, of which `plan` is; they outlive the rule. The same on all ranks of the group.
  MuonRule(const ParameterList& parameters, const BucketPlan& plan, MuonSetup setup);
  std::span<const std::string_view> moments() const override;
  bool takes(const ParameterSpec& parameter) const override;
  bool is_elementwise() const override { return false; }
  // `states` are all of this rank's that are hidden matrices. Collective over the group, also where this rank owns
  // nothing of any. Throws CommError.
  void update(std::span<OptimizerState* const> states, const UpdateStep& step) const override;

 private:
  struct Matrix {
    const Parameter* parameter;
    bool is_qkv;
    std::vector<ElementRange> owned;  // of the local tensor, by replica; empty: nothing
  };
  using Round = std::span<const Matrix>;  // the i-th is rank i's
  using States = std::vector<OptimizerState*>;

  ElementRange owned(const Matrix& matrix, int rank) const;
  ElementRange taken_from(const Matrix& matrix, int worker, int rank) const;
  at::Tensor momentum_of(OptimizerState& state, const UpdateStep& step) const;
  at::Tensor gather(Round round, const States& states, const UpdateStep& step) const;
  void scatter(Round wave, int first, const std::vector<at::Tensor>& own_update, const States& states,
               const UpdateStep& step) const;
  at::Tensor whole_of(const Matrix& matrix, const std::vector<at::Tensor>& parts) const;
  std::vector<at::Tensor> slices_of(const Matrix& matrix, const at::Tensor& whole) const;

  MuonOptions options_;
  StageRanks ranks_;
  Orthogonalize orthogonalize_;
  std::vector<Matrix> matrices_;  // in the order of the rounds
};

}  // namespace ringtron
