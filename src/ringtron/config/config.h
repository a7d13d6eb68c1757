// Everything a run can be told, as one tree of plain structs.
//
// The default of an option is its member initialiser here. Its flag, help, range and compatibility verdict stand in one
// record of the tables in options_<group>.cpp; rules between fields stand in validate.cpp. Values that follow from
// others (ffn size, head size, global batch) are 0 or empty here and filled by fill_defaults() in validate.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ringtron/choices/choices.h"

namespace ringtron {

struct ParallelConfig {
  int tensor_model_parallel_size = 1;
  int pipeline_model_parallel_size = 1;
  int num_layers_per_virtual_pipeline_stage = 0;  // 0: not given; so the next four
  int num_virtual_stages_per_pipeline_rank = 0;
  int microbatch_group_size_per_virtual_pipeline_stage = 0;  // filled in: the pipeline size
  PipelineScheduleKind pipeline_schedule = PipelineScheduleKind::one_forward_one_backward;
  int decoder_first_pipeline_num_layers = 0;
  int decoder_last_pipeline_num_layers = 0;
  bool account_for_embedding_in_pipeline_split = false;
  bool account_for_loss_in_pipeline_split = false;
  std::string pipeline_model_parallel_layout;  // filled in from the | of a hybrid pattern
  int context_parallel_size = 1;
  std::vector<std::string> cp_comm_type = {"p2p"};       // one for all layers, or one per layer; may be auto
  std::vector<int> hierarchical_context_parallel_sizes;  // A P of a2a+p2p
  CpLayout cp_layout = CpLayout::zigzag;
  bool proof_of_exchange = true;  // --no-proof-of-exchange
  bool strict_megatron = false;   // refuse what Megatron refuses, with its message
  bool sequence_parallel = false;
  bool use_tp_pp_dp_mapping = false;
  bool overlap_grad_reduce = true;
  std::int64_t ddp_bucket_size = 0;  // elements; 0: chosen from the group's size
  bool use_distributed_optimizer = false;
  bool overlap_param_gather = true;
  std::optional<Backend> distributed_backend;  // not given: nccl where there is a GPU, gloo elsewhere
  double distributed_timeout_minutes = 10.0;
  bool peer_copies = true;  // --no-peer-copies
};

struct ModelConfig {
  int num_layers = 0;
  int hidden_size = 0;
  int num_attention_heads = 0;
  int ffn_hidden_size = 0;  // 0: 4 h, or int(8h/3/64)*64 with swiglu
  int kv_channels = 0;      // 0: hidden_size / num_attention_heads
  bool group_query_attention = false;
  int num_query_groups = 1;  // filled in: num_attention_heads unless group_query_attention
  int max_position_embeddings = 0;
  int seq_length = 0;
  PositionEmbedding position_embedding_type = PositionEmbedding::learned_absolute;
  bool use_rotary_position_embeddings = false;
  bool no_position_embedding = false;  // an old name: no learned positions
  double rotary_base = 10000.0;
  double rotary_percent = 1.0;
  bool rotary_interleaved = false;
  double rotary_seq_len_interpolation_factor = 0.0;  // 0: none
  bool use_rope_scaling = false;
  double rope_scaling_factor = 8.0;
  std::optional<RopeType> rope_type;   // filled in: none; yarn stands in position_embedding_type
  double rotary_scaling_factor = 1.0;  // of yarn, as the next six
  int yarn_original_max_position_embeddings = 4096;
  double yarn_beta_fast = 32.0;
  double yarn_beta_slow = 1.0;
  double mscale = 1.0;
  double mscale_all_dim = 0.0;
  bool yarn_correction_range_round_to_int = true;  // --no-yarn-correction-range-round-to-int
  Normalization normalization = Normalization::layer_norm;
  double norm_epsilon = 1e-5;
  bool apply_layernorm_1p = false;  // zero-centred gamma
  bool swiglu = false;
  bool squared_relu = false;
  bool openai_gelu = false;
  bool bias_gelu_fusion = true;  // --no-bias-gelu-fusion; with biases on it selects the tanh form, as in Megatron
  bool add_bias_linear = true;   // --disable-bias-linear
  bool add_qkv_bias = false;     // filled in: true when add_bias_linear
  bool untie_embeddings_and_output_weights = false;
  bool qk_layernorm = false;
  std::vector<int> window_size;  // keys to the left and right that a query sees, -1: all; empty: no window
  SoftmaxKind softmax_type = SoftmaxKind::vanilla;
  std::string hybrid_layer_pattern;     // a letter a layer: M Mamba, * attention, - MLP; empty: transformer layers
  std::string hybrid_override_pattern;  // its older name; filled in: empty
  bool is_hybrid_model = false;         // filled in: whether there is a pattern
  int mamba_state_dim = 128;
  int mamba_head_dim = 64;
  int mamba_num_groups = 8;
  int mamba_num_heads = 0;        // 0: 2 hidden_size / mamba_head_dim
  std::vector<std::string> spec;  // module and name
  int make_vocab_size_divisible_by = 128;
  int padded_vocab_size = 0;  // 0: from the tokenizer

  bool is_rotary() const {
    return position_embedding_type == PositionEmbedding::rope || position_embedding_type == PositionEmbedding::yarn;
  }
};

struct BatchConfig {
  int micro_batch_size = 0;
  int global_batch_size = 0;             // 0: micro_batch_size * data-parallel size; of one that changes, the last
  std::vector<int> rampup_batch_size;    // START INCREMENT SAMPLES; empty: none
  std::string step_batch_size_schedule;  // "TOKENS:BATCH ..."; empty: none
  std::int64_t train_iters = 0;
  std::int64_t train_samples = 0;
  std::int64_t exit_interval = 0;
  double exit_duration_in_mins = 0.0;
  bool exit_signal_handler = false;
  bool exit_with_signal_code = false;
  std::vector<int> iterations_to_skip;
  bool skip_train = false;
};

struct OptimizerConfig {
  OptimizerType optimizer = OptimizerType::adam;
  double lr = 0.0;
  double min_lr = 0.0;
  LrDecayStyle lr_decay_style = LrDecayStyle::linear;
  std::int64_t lr_decay_iters = 0;
  std::int64_t lr_decay_samples = 0;
  std::optional<double> decoupled_lr, decoupled_min_lr;
  std::optional<double> lr_warmup_fraction;
  std::int64_t lr_warmup_iters = 0;
  std::int64_t lr_warmup_samples = 0;
  double lr_warmup_init = 0.0;
  WsdDecayStyle lr_wsd_decay_style = WsdDecayStyle::exponential;
  std::int64_t lr_wsd_decay_iters = 0;
  std::int64_t lr_wsd_decay_samples = 0;
  double weight_decay = 0.01;
  std::optional<double> start_weight_decay;
  std::optional<double> end_weight_decay;
  WeightDecayStyle weight_decay_incr_style = WeightDecayStyle::constant;
  double clip_grad = 1.0;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_eps = 1e-8;
  double sgd_momentum = 0.9;
  double muon_momentum = 0.9;
  bool muon_split_qkv = true;
  bool muon_nesterov = false;
  MuonScale muon_scale_mode = MuonScale::spectral;
  MuonProducts muon_fp32_matmul_prec = MuonProducts::medium;
  MuonCoefficients muon_coefficient_type = MuonCoefficients::quintic;
  int muon_num_ns_steps = 5;
  MuonTensorMode muon_tp_mode = MuonTensorMode::duplicated;
  double muon_extra_scale_factor = 1.0;
  bool override_opt_param_scheduler = false;
  bool use_checkpoint_opt_param_scheduler = false;
};

struct PrecisionConfig {
  bool bf16 = false;
  bool fp16 = false;
  bool fp64 = false;  // ours: for proofs
  bool accumulate_allreduce_grads_in_fp32 = false;
  bool grad_reduce_in_bf16 = false;
  bool calculate_per_token_loss = false;  // accepted: Ringtron always does
  double init_method_std = 0.02;
  bool init_method_xavier_uniform = false;
  std::int64_t seed = 1234;
  double hidden_dropout = 0.1;
  double attention_dropout = 0.1;
  bool check_for_nan_in_loss_and_grad = true;
  bool deterministic_mode = false;
  std::optional<double> loss_scale;  // constant; without it the scale of fp16 is found while training
  double initial_loss_scale = 4294967296.0;
  double min_loss_scale = 1.0;
  int loss_scale_window = 1000;  // steps
  int hysteresis = 2;            // steps

  bool is_half() const { return bf16 || fp16; }
  bool has_dynamic_loss_scale() const { return fp16 && !loss_scale; }
};

// Which activations are not kept for the backward pass but computed again in it.
struct RecomputeConfig {
  std::optional<RecomputeGranularity> granularity;
  std::optional<RecomputeMethod> method;  // of full
  int num_layers = 0;                     // of full: per segment with uniform, in all with block; 0: not given
  std::vector<std::string> modules;       // of selective; filled in: core_attn where none was given
  bool activations = false;               // --recompute-activations
  bool ckpt_activations = false;          // a common mistake for it; filled in: false
  bool cp_keep_kv = false;
};

struct CheckpointConfig {
  std::string save;
  std::string load;
  std::int64_t save_interval = 0;
  std::int64_t save_retain_interval = 0;  // 0: all are kept
  bool async_save = false;
  bool no_load_optim = false;
  bool no_load_rng = false;
  bool no_save_optim = false;
  bool no_save_rng = false;
  bool finetune = false;
  std::int64_t ckpt_step = 0;
  bool exit_on_missing_checkpoint = false;
  bool use_checkpoint_args = false;
};

struct DataConfig {
  std::vector<std::string> data_path;  // PREFIX, or weight PREFIX pairs, or several PREFIX
  std::vector<std::string> train_data_path, valid_data_path, test_data_path;
  std::string split;  // empty: "969, 30, 1"
  std::string data_cache_path;
  bool mock_data = false;
  int num_workers = 2;
  DataloaderType dataloader_type = DataloaderType::single;
  bool reset_position_ids = false;
  bool reset_attention_mask = false;
  bool eod_mask_loss = false;
  TokenizerType tokenizer_type = TokenizerType::gpt2_bpe;
  std::string vocab_file;
  std::string merge_file;
  int vocab_size = 0;           // NullTokenizer, TikTokenizer
  std::string tokenizer_model;  // a SentencePiece model, a vocabulary of tiktoken, or tokenizer.json's folder
  int vocab_extra_ids = 0;      // SentencePieceTokenizer
  TikTokenPattern tiktoken_pattern = TikTokenPattern::v2;
  int tiktoken_num_special_tokens = 1000;
  std::vector<std::string> tokenizer_special_tokens;  // TikTokenizer: the first ids; HuggingFaceTokenizer: further ones
  bool tokenizer_hf_no_include_special_tokens = false;  // HuggingFaceTokenizer
};

struct EvaluationConfig {
  std::int64_t eval_interval = 1000;
  std::int64_t eval_iters = 100;
  std::int64_t start_eval_at_iter = 0;
  int eval_micro_batch_size = 0;   // 0: training's
  int eval_global_batch_size = 0;  // 0: training's, of one that changes the last
  bool full_validation = false;
  bool multiple_validation_sets = false;
  std::vector<std::string> validation_set_names;  // empty: numbers

  bool is_on() const { return eval_iters > 0 || full_validation; }
};

struct LoggingConfig {
  std::int64_t log_interval = 100;
  std::string tensorboard_dir;
  std::int64_t tensorboard_log_interval = 1;
  int tensorboard_queue_size = 1000;
  bool log_throughput = false;
  bool log_eta = false;  // ours
  bool log_params_norm = false;
  bool log_num_zeros_in_grad = false;
  bool log_progress = false;
  bool log_validation_ppl_to_tensorboard = false;
  int timing_log_level = 0;
  TimingLogOption timing_log_option = TimingLogOption::minmax;
  bool log_timers_to_tensorboard = false;
  bool log_memory_to_tensorboard = false;
  bool log_world_size_to_tensorboard = false;
  bool log_loss_scale_to_tensorboard = true;
  std::int64_t log_memory_interval = 0;  // 0: never again
  std::string log_jsonl;                 // ours
  bool profile = false;
  bool use_pytorch_profiler = false;
  std::int64_t profile_step_start = 10, profile_step_end = 12;
  std::vector<int> profile_ranks;  // empty: 0
};

struct Config {
  ParallelConfig parallel;
  ModelConfig model;
  BatchConfig batch;
  OptimizerConfig optimizer;
  PrecisionConfig precision;
  RecomputeConfig recompute;
  CheckpointConfig checkpoint;
  DataConfig data;
  EvaluationConfig evaluation;
  LoggingConfig logging;
};

}  // namespace ringtron
