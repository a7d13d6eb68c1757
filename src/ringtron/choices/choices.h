// What flags choose from by word: for each choice an enum and its words.
//
// The words are those of Megatron-LM's flags where it has them, and stand in checkpoints. A choice that may be left out
// is a std::optional where it is kept.
#pragma once

#include "ringtron/choices/words.h"

namespace ringtron {

// --position-embedding-type
enum class PositionEmbedding { learned_absolute, rope, yarn, none };
template <>
struct Words<PositionEmbedding> {
  static constexpr Word<PositionEmbedding> table[] = {{PositionEmbedding::learned_absolute, "learned_absolute"},
                                                      {PositionEmbedding::rope, "rope"},
                                                      {PositionEmbedding::yarn, "yarn"},
                                                      {PositionEmbedding::none, "none"}};
};

// --rope-type: how the frequencies of rotary positions are scaled
enum class RopeType { rope, yarn };
template <>
struct Words<RopeType> {
  static constexpr Word<RopeType> table[] = {{RopeType::rope, "rope"}, {RopeType::yarn, "yarn"}};
};

// --normalization
enum class Normalization { layer_norm, rms_norm };
template <>
struct Words<Normalization> {
  static constexpr Word<Normalization> table[] = {{Normalization::layer_norm, "LayerNorm"},
                                                  {Normalization::rms_norm, "RMSNorm"}};
};

// --softmax-type: one more term in the denominator of attention's softmax, none, exp(0), or exp(sink) with a learned
// sink per head.
enum class SoftmaxKind { vanilla, off_by_one, learnable };
template <>
struct Words<SoftmaxKind> {
  static constexpr Word<SoftmaxKind> table[] = {{SoftmaxKind::vanilla, "vanilla"},
                                                {SoftmaxKind::off_by_one, "off-by-one"},
                                                {SoftmaxKind::learnable, "learnable"}};
};

// --cp-layout
enum class CpLayout { zigzag, contiguous, balanced };
template <>
struct Words<CpLayout> {
  static constexpr Word<CpLayout> table[] = {
      {CpLayout::zigzag, "zigzag"}, {CpLayout::contiguous, "contiguous"}, {CpLayout::balanced, "balanced"}};
};

// --distributed-backend
enum class Backend { nccl, gloo };
template <>
struct Words<Backend> {
  static constexpr Word<Backend> table[] = {{Backend::nccl, "nccl"}, {Backend::gloo, "gloo"}};
};

// --optimizer
enum class OptimizerType { adam, sgd, muon };
template <>
struct Words<OptimizerType> {
  static constexpr Word<OptimizerType> table[] = {
      {OptimizerType::adam, "adam"}, {OptimizerType::sgd, "sgd"}, {OptimizerType::muon, "muon"}};
};

// --muon-coefficient-type: of the Newton-Schulz iteration
enum class MuonCoefficients { simple, quintic, polar_express, aol };
template <>
struct Words<MuonCoefficients> {
  static constexpr Word<MuonCoefficients> table[] = {{MuonCoefficients::simple, "simple"},
                                                     {MuonCoefficients::quintic, "quintic"},
                                                     {MuonCoefficients::polar_express, "polar_express"},
                                                     {MuonCoefficients::aol, "aol"}};
};

// --muon-scale-mode: by what an orthogonal matrix is multiplied
enum class MuonScale { spectral, unit_rms_norm, shape_scaling };
template <>
struct Words<MuonScale> {
  static constexpr Word<MuonScale> table[] = {{MuonScale::spectral, "spectral"},
                                              {MuonScale::unit_rms_norm, "unit_rms_norm"},
                                              {MuonScale::shape_scaling, "shape_scaling"}};
};

// --muon-fp32-matmul-prec: bf16 or fp32 products
enum class MuonProducts { medium, high };
template <>
struct Words<MuonProducts> {
  static constexpr Word<MuonProducts> table[] = {{MuonProducts::medium, "medium"}, {MuonProducts::high, "high"}};
};

// --muon-tp-mode: both orthogonalise the whole matrix
enum class MuonTensorMode { duplicated, distributed };
template <>
struct Words<MuonTensorMode> {
  static constexpr Word<MuonTensorMode> table[] = {{MuonTensorMode::duplicated, "duplicated"},
                                                   {MuonTensorMode::distributed, "distributed"}};
};

// --lr-decay-style
enum class LrDecayStyle { constant, linear, cosine, inverse_square_root, wsd };
template <>
struct Words<LrDecayStyle> {
  static constexpr Word<LrDecayStyle> table[] = {{LrDecayStyle::constant, "constant"},
                                                 {LrDecayStyle::linear, "linear"},
                                                 {LrDecayStyle::cosine, "cosine"},
                                                 {LrDecayStyle::inverse_square_root, "inverse-square-root"},
                                                 {LrDecayStyle::wsd, "WSD"}};
};

// --lr-wsd-decay-style: the last phase of WSD
enum class WsdDecayStyle { exponential, linear, cosine, minus_sqrt };
template <>
struct Words<WsdDecayStyle> {
  static constexpr Word<WsdDecayStyle> table[] = {{WsdDecayStyle::exponential, "exponential"},
                                                  {WsdDecayStyle::linear, "linear"},
                                                  {WsdDecayStyle::cosine, "cosine"},
                                                  {WsdDecayStyle::minus_sqrt, "minus_sqrt"}};
};

// --weight-decay-incr-style
enum class WeightDecayStyle { constant, linear, cosine };
template <>
struct Words<WeightDecayStyle> {
  static constexpr Word<WeightDecayStyle> table[] = {{WeightDecayStyle::constant, "constant"},
                                                     {WeightDecayStyle::linear, "linear"},
                                                     {WeightDecayStyle::cosine, "cosine"}};
};

// --pipeline-schedule
enum class PipelineScheduleKind { one_forward_one_backward, gpipe, zero_bubble };
template <>
struct Words<PipelineScheduleKind> {
  static constexpr Word<PipelineScheduleKind> table[] = {{PipelineScheduleKind::one_forward_one_backward, "1F1B"},
                                                         {PipelineScheduleKind::gpipe, "GPipe"},
                                                         {PipelineScheduleKind::zero_bubble, "zero-bubble"}};
};

// --recompute-granularity
enum class RecomputeGranularity { full, selective };
template <>
struct Words<RecomputeGranularity> {
  static constexpr Word<RecomputeGranularity> table[] = {{RecomputeGranularity::full, "full"},
                                                         {RecomputeGranularity::selective, "selective"}};
};

// --recompute-method
enum class RecomputeMethod { uniform, block };
template <>
struct Words<RecomputeMethod> {
  static constexpr Word<RecomputeMethod> table[] = {{RecomputeMethod::uniform, "uniform"},
                                                    {RecomputeMethod::block, "block"}};
};

// --timing-log-option
enum class TimingLogOption { max, minmax, all };
template <>
struct Words<TimingLogOption> {
  static constexpr Word<TimingLogOption> table[] = {
      {TimingLogOption::max, "max"}, {TimingLogOption::minmax, "minmax"}, {TimingLogOption::all, "all"}};
};

// --dataloader-type
enum class DataloaderType { single, cyclic };
template <>
struct Words<DataloaderType> {
  static constexpr Word<DataloaderType> table[] = {{DataloaderType::single, "single"},
                                                   {DataloaderType::cyclic, "cyclic"}};
};

// --tokenizer-type
enum class TokenizerType { gpt2_bpe, sentencepiece, gpt_sentencepiece, llama2, hugging_face, tiktoken, null };
template <>
struct Words<TokenizerType> {
  static constexpr Word<TokenizerType> table[] = {{TokenizerType::gpt2_bpe, "GPT2BPETokenizer"},
                                                  {TokenizerType::sentencepiece, "SentencePieceTokenizer"},
                                                  {TokenizerType::gpt_sentencepiece, "GPTSentencePieceTokenizer"},
                                                  {TokenizerType::llama2, "Llama2Tokenizer"},
                                                  {TokenizerType::hugging_face, "HuggingFaceTokenizer"},
                                                  {TokenizerType::tiktoken, "TikTokenizer"},
                                                  {TokenizerType::null, "NullTokenizer"}};
};
// Whether it reads a SentencePiece model, --tokenizer-model.
constexpr bool has_sentencepiece_model(TokenizerType type) {
  return type == TokenizerType::sentencepiece || type == TokenizerType::gpt_sentencepiece ||
         type == TokenizerType::llama2;
}
constexpr bool needs_tokenizer_model(TokenizerType type) {
  return has_sentencepiece_model(type) || type == TokenizerType::hugging_face || type == TokenizerType::tiktoken;
}

// --tiktoken-pattern
enum class TikTokenPattern { v1, v2 };
template <>
struct Words<TikTokenPattern> {
  static constexpr Word<TikTokenPattern> table[] = {{TikTokenPattern::v1, "v1"}, {TikTokenPattern::v2, "v2"}};
};

}  // namespace ringtron
