#include "ringtron/train/start_up/unfused_operations.h"

#include <fmt/format.h>

#include "ringtron/kernels/norm/norm_params.h"
#include "ringtron/kernels/ssd_scan/ssd_params.h"

namespace ringtron {
namespace {

constexpr std::int64_t kVector = 8;  // elements that a thread moves together

}  // namespace

std::vector<std::string> unfused_operations(const ResolvedConfig& config) {
  if (config->precision.fp64) {
    return {"--fp64: norms, activations, rotary positions, loss and optimizer run as single operations, slower"};
  }
  std::vector<std::string> lines;
  const auto say = [&](const std::string& what, const std::string& why) {
    lines.push_back(fmt::format("{} as single operations, slower: {}", what, why));
  };
  const ModelConfig& m = config->model;
  const std::int64_t ranks = config->parallel.tensor_model_parallel_size;
  if (m.hidden_size % kVector != 0) {
    say("norms and residual sums run", fmt::format("--hidden-size {} is no multiple of {}", m.hidden_size, kVector));
  } else if (m.hidden_size > NormShape::kMostWidth) {
    say("norms and residual sums run",
        fmt::format("--hidden-size {} is above {}", m.hidden_size, static_cast<int>(NormShape::kMostWidth)));
  }
  if (m.ffn_hidden_size / ranks % kVector != 0) {
    say("the activation of the MLP runs", fmt::format("--ffn-hidden-size {} over {} tensor ranks is no multiple of {}",
                                                      m.ffn_hidden_size, ranks, kVector));
  }
  const auto turned = static_cast<std::int64_t>(static_cast<double>(m.kv_channels) * m.rotary_percent);
  if (m.is_rotary() && turned % (2 * kVector) != 0) {
    say("the rotation of q and k runs",
        fmt::format("{} rotated channels of a head are no multiple of {}", turned, 2 * kVector));
  } else if (m.kv_channels % (2 * kVector) != 0) {
    say("the split of q, k and v and their rotation run",
        fmt::format("heads of {} channels are no multiple of {}", m.kv_channels, 2 * kVector));
  }
  if (m.hybrid_layer_pattern.find('M') != std::string::npos) {
    const auto fits = [](int size, int most) { return size % kVector == 0 && size <= most; };
    if (!config->precision.is_half()) {
      say("the scan of Mamba layers runs", "its kernels take bf16 and fp16");
    } else if (!fits(m.mamba_head_dim, kSsdMostSize) || !fits(m.mamba_state_dim, kSsdMostStates)) {
      say("the scan of Mamba layers runs",
          fmt::format("its kernels take multiples of {}, --mamba-head-dim up to {} and --mamba-state-dim up to {}",
                      kVector, kSsdMostSize, kSsdMostStates));
    }
  }
  if (m.padded_vocab_size / ranks % kVector != 0) {
    say("the loss runs", fmt::format("a padded vocabulary of {} over {} tensor ranks is no multiple of {}",
                                     m.padded_vocab_size, ranks, kVector));
  }
  if (config->optimizer.optimizer == OptimizerType::sgd) say("SGD runs", "it has no kernel of its own");
  if (config->optimizer.optimizer == OptimizerType::muon)
    say("momentum and weights of hidden matrices are updated", "Muon has no kernel of its own");
  return lines;
}

}  // namespace ringtron
