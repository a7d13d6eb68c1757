// cuDNN graphs of one kind and their plans, by key: what attention of whole blocks and of tiles share. Only files that
// include cudnn-frontend include this.
//
// A Key is compared with <, and has beside it: std::string describe(const Key&), for messages, and
// void describe_graph(cudnn_frontend::graph::Graph&, const Key&).
#pragma once

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cudnn_frontend.h>
#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"

namespace ringtron::internal {

using CudnnPointers = std::unordered_map<std::int64_t, void*>;  // of a graph's tensors, by their numbers

template <class Key>
class CudnnPlans {
 public:
  CudnnPlans() = default;
  CudnnPlans(const CudnnPlans&) = delete;
  CudnnPlans& operator=(const CudnnPlans&) = delete;
  ~CudnnPlans() {
    if (handle_) cudnnDestroy(handle_);
  }

  // Runs the plan of `key`, made when it is new, on the current stream of q's device; does not wait for it. Workspace
  // comes from LibTorch's caching allocator. Throws ConfigError where cuDNN cannot be started or has no plan.
  void run(const Key& key, const at::Tensor& q, CudnnPointers pointers) {
    const c10::cuda::CUDAGuard guard(q.device());
    prepare(q.get_device());
    const Plan& plan = plan_for(key);
    const at::Tensor workspace = at::empty({plan.workspace_bytes}, q.options().dtype(at::kByte));
    cudnn_frontend::error_t error = plan.graph.execute(handle_, pointers, workspace.mutable_data_ptr());
    RT_CHECK(error.is_good(), "attention through cuDNN: the {} failed: {}", describe(key), error.get_message());
  }

  std::size_t size() const { return plans_.size(); }

 private:
  struct Plan {
    cudnn_frontend::graph::Graph graph;
    std::int64_t workspace_bytes = 0;
  };

  const Plan& plan_for(const Key& key) {
    auto found = plans_.find(key);
    if (found == plans_.end()) found = plans_.emplace(key, built(key)).first;
    return *found->second;
  }

  std::unique_ptr<Plan> built(const Key& key) const {
    auto plan = std::make_unique<Plan>();
    describe_graph(plan->graph, key);
    cudnn_frontend::error_t error = plan->graph.build(handle_, {cudnn_frontend::HeurMode_t::A});
    if (error.is_good()) error = plan->graph.get_workspace_size(plan->workspace_bytes);
    if (error.is_bad()) {
      throw ConfigError(
          fmt::format("attention through cuDNN: expected a plan for the {}, got: {}. The cuDNN found at run "
                      "time is {}; 91900 or newer, from the torch wheel's folder, should have one",
                      describe(key), error.get_message(), cudnnGetVersion()));
    }
    return plan;
  }

  // Makes the handle at the first call and points it at the current stream.
  void prepare(int device) {
    if (!handle_) {
      start(cudnnCreate(&handle_));
      device_ = device;
    }
    RT_CHECK_EQ(device, device_, "GPU of an attention call");
    start(cudnnSetStream(handle_, c10::cuda::getCurrentCUDAStream().stream()));
  }

  static void start(cudnnStatus_t status) {
    if (status == CUDNN_STATUS_SUCCESS) return;
    throw ConfigError(
        fmt::format("attention through cuDNN: could not start cuDNN {} ({}). Check the driver and that "
                    "the cuDNN of the torch wheel is the one found",
                    cudnnGetVersion(), cudnnGetErrorString(status)));
  }

  cudnnHandle_t handle_ = nullptr;
  int device_ = -1;
  std::map<Key, std::unique_ptr<Plan>> plans_;
};

}  // namespace ringtron::internal
