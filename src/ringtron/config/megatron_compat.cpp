// Megatron-LM's flags that change nothing here, and the search in both tables.
#include "ringtron/config/megatron_compat.h"

namespace ringtron {
namespace {

constexpr auto kAccepted = ForeignVerdict::accepted;
constexpr auto kWarned = ForeignVerdict::warned;
constexpr Arity kOne = Arity::one;
constexpr Arity kMany = Arity::many;

constexpr std::string_view kOneImplementation = "Ringtron has one implementation of the model";
constexpr std::string_view kOwnAttention = "Ringtron chooses its attention kernel by device and type";
constexpr std::string_view kOwnFusions = "Ringtron chooses fused kernels itself; they compute the same function";
constexpr std::string_view kOwnCommunication =
    "Ringtron arranges its communication itself; results do not depend on it";
constexpr std::string_view kOwnPipeline = "messages between pipeline stages are always under way during other work";
constexpr std::string_view kWeightGradients =
    "weight gradients are computed with those of the inputs; only speed may differ";
constexpr std::string_view kNoPython = "there is no Python garbage collector or allocator cache to tune";
constexpr std::string_view kOwnCheckpoints = "checkpoints are folders of safetensors shards that load into any layout";
constexpr std::string_view kOwnIndex = "the data index is memory-mapped and cached in Ringtron's own way";
constexpr std::string_view kLogDetail = "it only adds or removes detail in logs";
constexpr std::string_view kDeprecated = "Megatron ignores it too";
constexpr std::string_view kGatherAtOnce = "parameters are gathered while the next forward runs";
constexpr std::string_view kStateInFp32 = "main weights, gradients and moments are kept in fp32";
constexpr std::string_view kInference = "it is read by Megatron's text generation, not by training";
constexpr std::string_view kServices = "it names a run to a service that Ringtron does not talk to";
constexpr std::string_view kGraphs = "Ringtron has no CUDA graphs; only speed may differ";

constexpr ForeignFlag kFlags[] = {
    {"--wandb-*", kWarned,
     "there is no W&B client; give --log-jsonl FILE, and the lines of docs/report.md upload it, or --tensorboard-dir DIR, "
     "which `wandb sync DIR` uploads (wandb up to 0.29)",
     kOne},
    {"--transformer-impl", kAccepted, kOneImplementation, kOne},
    {"--use-mcore-models", kAccepted, kOneImplementation},
    {"--attention-backend", kAccepted, kOwnAttention, kOne},
    {"--flash-attention-version", kAccepted, kOwnAttention, kOne},
    {"--use-flash-attn", kAccepted, kOwnAttention},
    {"--attention-softmax-in-fp32", kAccepted, "softmax is always computed in fp32 or wider"},
    {"--no-rope-fusion", kAccepted, kOwnFusions},
    {"--no-gradient-accumulation-fusion", kAccepted, kOwnFusions},
    {"--no-masked-softmax-fusion", kAccepted, kOwnFusions},
    {"--no-bias-swiglu-fusion", kAccepted, kOwnFusions},
    {"--no-bias-dropout-fusion", kAccepted, kOwnFusions},
    {"--no-persist-layer-norm", kAccepted, kOwnFusions},
    {"--cross-entropy-loss-fusion", kAccepted, kOwnFusions},
    {"--cross-entropy-fusion-impl", kAccepted, kOwnFusions, kOne},
    {"--defer-embedding-wgrad-compute", kAccepted, kWeightGradients},
    {"--wgrad-deferral-limit", kAccepted, kWeightGradients, kOne},
    {"--delay-wgrad-compute", kAccepted, kWeightGradients},
    {"--trust-remote-code", kAccepted, "of a tokenizer's folder only JSON files are read; no code in it runs"},
    {"--tokenizer-hf-no-use-fast", kAccepted, "there is one implementation, with the ids of tokenizer.json"},
    {"--use-gigatoken", kAccepted, "there is one implementation, with the ids of tokenizer.json"},
    {"--legacy-tokenizer", kAccepted, "there is one implementation of each tokenizer, with the same ids"},
    {"--null-tokenizer-pad-id", kAccepted, "there is no padding", kOne, "-1"},
    {"--fp16-lm-cross-entropy", kAccepted, "the loss is always computed in fp32 or wider"},
    {"--use-mpi", kAccepted, "ranks are read from mpirun's variables wherever they are"},
    {"--cuda-graph-impl", kAccepted, kGraphs, kOne},
    {"--enable-cuda-graph", kAccepted, kGraphs},
    {"--external-cuda-graph", kAccepted, kGraphs},
    {"--empty-unused-memory-level", kAccepted, kNoPython, kOne},
    {"--manual-gc", kAccepted, kNoPython},
    {"--manual-gc-interval", kAccepted, kNoPython, kOne},
    {"--no-overlap-p2p-communication", kAccepted, kOwnPipeline},
    {"--overlap-p2p-communication-warmup-flush", kAccepted, kOwnPipeline},
    {"--use-ring-exchange-p2p", kAccepted, kOwnPipeline},
    {"--pipeline-model-parallel-comm-backend", kAccepted, kOwnPipeline, kOne},
    {"--overlap-grad-reduce", kAccepted, "it is always so, without --no-overlap-grad-reduce"},
    {"--overlap-param-gather", kAccepted, "it is always so, without --no-overlap-param-gather"},
    {"--no-align-grad-reduce", kAccepted, kOwnCommunication},
    {"--no-align-param-gather", kAccepted, kOwnCommunication},
    {"--overlap-param-gather-with-optimizer-step", kAccepted, kGatherAtOnce},
    {"--ddp-num-buckets", kAccepted, "--ddp-bucket-size sets the size of a bucket; the number follows", kOne},
    {"--ddp-average-in-collective", kAccepted, "gradients are summed and divided by the exact token count"},
    {"--ddp-pad-buckets-for-high-nccl-busbw", kAccepted, kOwnCommunication},
    {"--ddp-reduce-scatter-with-fp32-accumulation", kAccepted,
     "gradients are sent and summed in fp32, unless --grad-reduce-in-bf16 says otherwise"},
    {"--tp-comm-overlap", kAccepted, "with --sequence-parallel it is always so"},
    {"--no-tp-comm-bulk-wgrad", kAccepted, kOwnCommunication},
    {"--high-priority-stream-groups", kAccepted, kOwnCommunication, kMany},
    {"--use-nccl-ub", kAccepted, kOwnCommunication},
    {"--use-sharp", kAccepted, kOwnCommunication},
    {"--sharp-enabled-group", kAccepted, kOwnCommunication, kOne},
    {"--disable-gloo-process-groups", kAccepted, kOwnCommunication},
    {"--local-rank", kAccepted, "the rank comes from the launcher's environment variables", kOne},
    {"--exit-signal-handler-for-dataloader", kAccepted, "loader threads end with their process"},
    {"--exit-signal-handler-for-training", kAccepted, "--exit-signal-handler does this"},
    {"--use-cpu-initialization", kAccepted, "initial weights depend on the seed and the position only, not the device"},
    {"--no-initialization", kAccepted, "weights are always initialised"},
    {"--te-rng-tracker", kAccepted, "random numbers depend on the seed and the position only"},
    {"--use-persistent-ckpt-worker", kAccepted, "--async-save has one way of working"},
    {"--async-strategy", kAccepted, "--async-save has one way of working", kOne},
    {"--ckpt-format", kAccepted, kOwnCheckpoints, kOne},
    {"--auto-detect-ckpt-format", kAccepted, kOwnCheckpoints},
    {"--no-ckpt-fully-parallel-save", kAccepted, kOwnCheckpoints},
    {"--ckpt-fully-parallel-load", kAccepted, kOwnCheckpoints},
    {"--ckpt-fully-parallel-save", kAccepted, kOwnCheckpoints},
    {"--ckpt-assume-constant-structure", kAccepted, kOwnCheckpoints},
    {"--dist-ckpt-optim-fully-reshardable", kAccepted, kOwnCheckpoints},
    {"--use-dist-ckpt", kAccepted, kOwnCheckpoints},
    {"--dist-ckpt-format", kAccepted, kOwnCheckpoints, kOne},
    {"--no-create-attention-mask-in-dataloader", kAccepted, "the causal mask is never stored as a tensor"},
    {"--no-mmap-bin-files", kAccepted, kOwnIndex},
    {"--num-dataset-builder-threads", kAccepted, kOwnIndex, kOne},
    {"--dataloader-fast-cache-load", kAccepted, kOwnIndex},
    {"--dataloader-defer-npy-index-mmap", kAccepted, kOwnIndex},
    {"--per-dataset-sequences-path", kAccepted, kOwnIndex, kOne},
    {"--no-barrier-with-level-1-timing", kAccepted, "no timer waits for other ranks"},
    {"--log-energy", kAccepted, kLogDetail},
    {"--log-straggler", kAccepted, kLogDetail},
    {"--log-max-attention-logit", kAccepted, kLogDetail},
    {"--logging-level", kAccepted, kLogDetail, kOne},
    {"--nvtx-ranges", kAccepted, kLogDetail},
    {"--disable-mamba-mem-eff-path", kAccepted, kOwnFusions},
    {"--rerun-mode", kAccepted, "no step is run twice; a loss that is not a number stops the run", kOne},
    {"--error-injection-rate", kAccepted, "it belongs to Megatron's rerun machine", kOne},
    {"--no-weight-decay-cond-type", kAccepted, kDeprecated, kOne},
    {"--onnx-safe", kAccepted, kDeprecated},
    {"--dist-ckpt-strictness", kAccepted, "a missing or unexpected tensor is always an error", kOne},
    {"--use-precision-aware-optimizer", kAccepted, kStateInFp32},
    {"--main-grads-dtype", kAccepted, kStateInFp32, kOne, "fp32"},
    {"--main-params-dtype", kAccepted, kStateInFp32, kOne, "fp32"},
    {"--exp-avg-dtype", kAccepted, kStateInFp32, kOne, "fp32"},
    {"--exp-avg-sq-dtype", kAccepted, kStateInFp32, kOne, "fp32"},
    {"--check-weight-hash-across-dp-replicas-interval", kAccepted,
     "replicas start equal and take the same steps by construction", kOne},
    {"--disable-straggler-on-startup", kAccepted, kLogDetail},
    {"--straggler-minmax-count", kAccepted, kLogDetail, kOne},
    {"--use-te-activation-func", kAccepted, kOwnFusions},
    {"--fused-single-qkv-rope", kAccepted, kOwnFusions},
    {"--disable-bf16-reduced-precision-matmul", kAccepted, "products are summed in fp32"},
    {"--init-model-with-meta-device", kAccepted, "weights are drawn on the device where they stay"},
    {"--inference-*", kAccepted, kInference, kMany},
    {"--mamba-inference-*", kAccepted, kInference, kOne},
    {"--enable-chunked-prefill", kAccepted, kInference},
    {"--decode-only-cuda-graphs", kAccepted, kInference},
    {"--cache-mla-latents", kAccepted, kInference},
    {"--use-legacy-static-engine", kAccepted, kInference},
    {"--num-speculative-tokens", kAccepted, kInference, kOne},
    {"--max-tokens-to-oom", kAccepted, kInference, kOne},
    {"--one-logger-*", kAccepted, kServices, kMany},
    {"--no-one-logger", kAccepted, kServices},
    {"--app-tag-run-*", kAccepted, kServices, kOne},
    {"--otel-*", kAccepted, kServices, kMany},
    {"--cuda-graph-modules", kAccepted, kGraphs, kMany},
    {"--cuda-graph-scope", kAccepted, kGraphs, kMany},
    {"--optimizer-cuda-graph", kAccepted, kGraphs},
    {"--tp-comm-overlap-cfg", kAccepted, kOwnCommunication, kOne},
    {"--create-all-gather-group", kAccepted, kOwnCommunication},
    {"--disable-symmetric-registration", kAccepted, kOwnCommunication},
    {"--no-gradient-reduce-div-fusion", kAccepted, kOwnFusions},
    {"--no-use-layer-wise-param-layout", kAccepted, kOwnCommunication},
    {"--ddp-param-name-patterns-for-fp32-local-accumulation", kAccepted, kStateInFp32, kMany},
    {"--dist-ckpt-workers", kAccepted, kOwnCheckpoints, kOne},
    {"--ckpt-drop-redundant-extra-state", kAccepted, kOwnCheckpoints},
    {"--yarn-correction-range-round-to-int", kAccepted,
     "it is so unless --no-yarn-correction-range-round-to-int is given"},
    {"--disable-msc", kAccepted, "files are always read and written as the system has them"},
    {"--enable-experimental", kAccepted, "it only permits features of Megatron's that their own flags ask for"},
    {"--allow-ambiguous-pad-tokens", kAccepted, "there is no padding"},
    // Old names that scripts still carry.
    {"--use-legacy-models", kAccepted, kOneImplementation},
    {"--DDP-impl", kAccepted, kOwnCommunication, kOne},
    {"--data-impl", kAccepted, kOwnIndex, kOne, "mmap"},
    {"--overlap-p2p-communication", kAccepted, kOwnPipeline},
    {"--no-scatter-gather-tensors-in-pipeline", kAccepted, kOwnPipeline},
    {"--no-query-key-layer-scaling", kAccepted, "scores are scaled by the root of the head size alone"},
    {"--log-batch-size-to-tensorboard", kAccepted, kLogDetail},
};

bool matches(std::string_view pattern, std::string_view name) {
  if (pattern.back() != '*') return pattern == name;
  pattern.remove_suffix(1);
  return name.size() > pattern.size() && name.substr(0, pattern.size()) == pattern;
}

const ForeignFlag* find_in(std::span<const ForeignFlag> flags, std::string_view name) {
  for (const ForeignFlag& flag : flags) {
    if (matches(flag.name, name)) return &flag;
  }
  return nullptr;
}

}  // namespace

std::span<const ForeignFlag> accepted_flags() { return kFlags; }

const ForeignFlag* find_foreign_flag(std::string_view name) {
  const ForeignFlag* accepted = find_in(accepted_flags(), name);
  return accepted != nullptr ? accepted : find_in(refused_flags(), name);
}

}  // namespace ringtron
