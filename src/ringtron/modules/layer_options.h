// What each module is told, as small structs, and how they follow from the configuration. Without LibTorch.
//
// Modules see these and not the whole Config. Here alone the flags of a model become options of its layers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ringtron/choices/choices.h"
#include "ringtron/config/pipeline/stage_split.h"
#include "ringtron/config/resolved_config.h"
#include "ringtron/kernels/activation/activation_kind.h"
#include "ringtron/kernels/rotary/rotary_options.h"
#include "ringtron/modules/layer_spec.h"
#include "ringtron/parameter/parameter_spec.h"

namespace ringtron {

struct NormOptions {
  std::int64_t width = 0;
  double epsilon = 1e-5;
  bool rms = false;                  // RMSNorm instead of LayerNorm: no bias
  bool zero_centred = false;         // --apply-layernorm-1p
  bool gradient_is_partial = false;  // each tensor rank sees a part of the rows, or of the heads
  bool keeps_output = false;         // for the linear layer behind it, which else has it computed again
};

struct AttentionOptions {
  std::int64_t hidden = 0, heads = 0, groups = 0, head_size = 0;  // groups: key/value heads
  bool qkv_bias = false, output_bias = false;
  std::optional<NormOptions> qk_norm;
  SoftmaxKind softmax = SoftmaxKind::vanilla;
  bool rotary_interleaved = false;
  double dropout = 0.0;  // of the scores
  Initial qkv_weight, output_weight;
  bool sequence_parallel = false;
};

struct MlpOptions {
  std::int64_t hidden = 0, ffn = 0;
  Activation activation = Activation::gelu_erf;
  bool bias = false;
  Initial up_weight, down_weight;
  bool sequence_parallel = false;
  bool keeps_activation = false;  // the activation's output, as NormOptions::keeps_output

  bool gated() const { return activation == Activation::swiglu; }
};

struct TransformerOptions {
  NormOptions norm;  // of both norms
  AttentionOptions attention;
  MlpOptions mlp;
  double dropout = 0.0;  // of what is added to the residual stream
};

struct MambaOptions {
  std::int64_t hidden = 0, heads = 0, head_size = 0;
  std::int64_t groups = 0, state_size = 0;  // heads of a group share B and C
  std::int64_t conv_width = 4;
  double gated_norm_epsilon = 1e-5;
  NormOptions norm;      // in front
  double dropout = 0.0;  // of what is added to the residual stream
  Initial in_weight, out_weight;
  bool sequence_parallel = false;
  bool keeps_gated_norm = false;  // its output, as NormOptions::keeps_output

  std::int64_t inner() const { return heads * head_size; }
  std::int64_t conv_channels() const { return inner() + 2 * groups * state_size; }  // x, B, C
};

struct EmbeddingOptions {
  std::int64_t hidden = 0, padded_vocabulary = 0;
  std::int64_t vocabulary = -1;  // without padding; -1: not known, or not asked for
  std::int64_t positions = 0;    // learned ones; 0: none
  double dropout = 0.0;
  Initial weight;
  bool sequence_parallel = false;
  bool weight_has_copy = false;  // of the word embedding, on the last stage of a pipeline, for a tied output layer
};

struct OutputOptions {
  std::string norm_name = "decoder.final_layernorm";  // of a hybrid model Megatron calls it decoder.final_norm
  NormOptions norm;
  std::int64_t padded_vocabulary = 0, vocabulary = -1;
  bool tied = true;         // its weight is the word embedding's
  bool holds_copy = false;  // of it: the word embedding is on another rank of the pipeline
  Initial weight;
  bool sequence_parallel = false;
};

TransformerOptions transformer_options(const ResolvedConfig& config);
MambaOptions mamba_options(const ResolvedConfig& config);
EmbeddingOptions embedding_options(const ResolvedConfig& config, std::int64_t vocabulary = -1);
OutputOptions output_options(const ResolvedConfig& config, std::int64_t vocabulary = -1);

// None where positions are not rotary.
std::optional<RotaryOptions> rotary_options(const ModelConfig& model);

// The virtual stages of the pipeline in the order of the model; of one stage the whole model.
std::vector<StageRange> stages_of(const ResolvedConfig& config);

// All layers in order. `transports`: of each layer (train/layer_transports.h); empty: p2p in all, for
// questions that do not depend on it.
std::vector<LayerSpec> layer_specs(const ResolvedConfig& config, std::span<const CpTransport> transports);

// --window-size.
AttentionWindow attention_window(const ModelConfig& model);

// The mask of one sample of a run that is one document, and its window.
AttentionMask sample_mask(const ResolvedConfig& config);

}  // namespace ringtron
