// Megatron-LM's flags that Ringtron refuses, with the reason and, where there is one, the way to the same
// end.
#include "ringtron/config/megatron_compat.h"

namespace ringtron {
namespace {

// A row of the table: all refused flags are alike but for name and reason.
constexpr ForeignFlag no(std::string_view name, std::string_view reason) {
  return {name, ForeignVerdict::refused, reason};
}

constexpr std::string_view kFsdp = "there are no sharded parameters (FSDP)";
constexpr std::string_view kMoe = "mixtures of experts are not built";
constexpr std::string_view kRatios = "give the layers themselves with --hybrid-layer-pattern";
constexpr std::string_view kMambaState = "states of a Mamba layer are fp32";
constexpr std::string_view kDeltaNet = "gated delta nets are not built";
constexpr std::string_view kMla = "multi-head latent attention is not built";
constexpr std::string_view kFp8 = "types of 8 bits and less are not built; use --bf16";
constexpr std::string_view kOffload = "nothing is offloaded to the host; raise CP or TP to save memory";
constexpr std::string_view kDynamicCp = "dynamic context parallelism comes in a later version";
constexpr std::string_view kPacking =
    "use --reset-attention-mask, --reset-position-ids and --eod-mask-loss, which do so under any layout";
constexpr std::string_view kMuP = "maximal update parametrisation is not built";
constexpr std::string_view kOneModel = "only decoder-only GPT models are built";
constexpr std::string_view kOptimizers = "optimizers are adam, sgd and muon";
constexpr std::string_view kWindow = "clipping of scores, gates and windows in some layers only are not built";
constexpr std::string_view kMtp = "multi-token prediction is not built";
constexpr std::string_view kProfiler = "--profile prints where the time goes; memory is not recorded";
constexpr std::string_view kReplication = "there is no replication of checkpoints between nodes";
constexpr std::string_view kRetention = "checkpoints are neither temporary nor deleted; remove old ones yourself";
constexpr std::string_view kConvert = "checkpoints of other formats are not read or written";
constexpr std::string_view kDataTool = "it belongs to the program preprocess_data";
constexpr std::string_view kResidual = "the residual stream has the type of the parameters and starts before the norm";
constexpr std::string_view kChecks = "only losses and gradient norms that are not numbers are found";
constexpr std::string_view kOneSource = "use --data-path, or --train-, --valid- and --test-data-path";

constexpr std::string_view kReinforcement = "there is no reinforcement learning; this program pretrains";
constexpr std::string_view kRestarts = "a run that fails ends with a message; the launcher starts it anew";
constexpr std::string_view kDistillation = "logits of another model are neither written nor learned from";
constexpr std::string_view kStorage = "files are local or mounted; object storage is not read";

constexpr ForeignFlag kFlags[] = {
    no("--batch-size", "its name is now --micro-batch-size"),
    no("--warmup", "its name is now --lr-warmup-fraction"),
    no("--model-parallel-size", "its name is now --tensor-model-parallel-size"),
    no("--checkpoint-activations", "its name is now --recompute-activations"),
    no("--distribute-checkpointed-activations",
       "saved inputs of recomputed layers are not cut over the tensor-parallel group; --sequence-parallel does so"),
    no("--distribute-saved-activations",
       "saved inputs of recomputed layers are not cut over the tensor-parallel group; --sequence-parallel does so"),
    no("--cpu-offloading-num-layers", kOffload),
    no("--fine-grained-activation-offloading", kOffload),
    no("--optimizer-cpu-offload", kOffload),
    no("--optimizer-offload-fraction", kOffload),

    no("--hybrid-context-parallel", kDynamicCp),
    no("--max-seqlen-per-dp-cp-rank", kDynamicCp),
    no("--dynamic-context-parallel", kDynamicCp),
    no("--num-distributed-optimizer-instances",
       "--use-distributed-optimizer divides the optimizer's state over all DP x CP ranks; remove the flag"),
    no("--use-megatron-fsdp", kFsdp),
    no("--use-torch-fsdp2", kFsdp),
    no("--data-parallel-sharding-strategy", kFsdp),
    no("--distributed-timeout-seconds-after-init",
       "one timeout holds for the whole run: --distributed-timeout-minutes"),
    no("--nccl-communicator-config-path", "set NCCL's own environment variables"),
    no("--fake-process-group", "a dry run of memory comes in a later version"),
    no("--flight-recorder-dump-path", "each error already names group, operation and sequence number"),
    no("--expert-model-parallel-size", kMoe),
    no("--expert-tensor-parallel-size", kMoe),
    no("--num-experts", kMoe),
    no("--moe-*", kMoe),

    no("--decoder-seq-length", kOneModel),
    no("--encoder-seq-length", "use --seq-length"),
    no("--encoder-num-layers", "use --num-layers"),
    no("--decoder-num-layers", kOneModel),
    no("--no-rope-freq", "each layer has the same positions"),
    no("--mrope-section", "all channels of a head turn by one position"),
    no("--quick-geglu", "use --swiglu, or GELU"),
    no("--qk-clip", kWindow),
    no("--qk-clip-alpha", kWindow),
    no("--qk-clip-threshold", kWindow),
    no("--qk-l2-norm", "use --qk-layernorm"),
    no("--attention-output-gate", kWindow),
    no("--window-attn-skip-freq", kWindow),
    no("--multi-latent-attention", kMla),
    no("--q-lora-rank", kMla),
    no("--kv-lora-rank", kMla),
    no("--qk-head-dim", kMla),
    no("--qk-pos-emb-head-dim", kMla),
    no("--v-head-dim", kMla),
    no("--mtp-num-layers", kMtp),
    no("--mtp-loss-scaling-factor", kMtp),
    no("--fp32-residual-connection", kResidual),
    no("--apply-residual-connection-post-layernorm", kResidual),
    no("--apply-query-key-layer-scaling", "scores are scaled by the root of the head size, in fp32"),
    no("--output-logit-dtype", "logits have the type of the parameters and the loss is computed in fp32"),
    no("--use-mup", kMuP),
    no("--mup-*", kMuP),
    no("--mtp-hybrid-override-pattern", kMtp),
    no("--hybrid-attention-ratio", kRatios),
    no("--hybrid-mlp-ratio", kRatios),
    no("--mamba-training-ssm-states-dtype", kMambaState),
    no("--linear-*", kDeltaNet),

    no("--decrease-batch-size-if-needed", "the global batch has one size: --global-batch-size"),
    no("--exit-signal", "--exit-signal-handler waits for SIGTERM"),
    no("--lion-*", kOptimizers),
    no("--muon-scalar-optimizer", "beside Muon's matrices AdamW updates all else"),
    no("--muon-*", "its matrix products have one way to run; what there is of Muon: --help=optimizer"),
    no("--apply-wd-to-qk-layernorm", "norm weights and biases have no weight decay"),
    no("--embedding-init-method-std", "embeddings start with --init-method-std as well"),
    no("--data-parallel-random-init", "all data-parallel ranks start equal"),
    no("--fp8-*", kFp8),
    no("--fp4-*", kFp8),
    no("--batch-invariant-mode", "use --deterministic-mode"),
    no("--check-for-spiky-loss", kChecks),
    no("--check-for-large-grads", kChecks),
    no("--result-rejected-tracker-filename", kChecks),

    no("--pretrained-checkpoint", "use --load with --finetune"),
    no("--override-ckpt-iteration", "use --finetune to start at step 0"),
    no("--load-main-params-from-ckpt", "main weights are always what is saved and loaded"),
    no("--use-mp-args-from-checkpoint-args", "give the layout; any layout loads any checkpoint"),
    no("--ckpt-convert-format", kConvert),
    no("--ckpt-convert-save", kConvert),
    no("--non-persistent-*", kRetention),
    no("--replication", kReplication),
    no("--replication-jump", kReplication),
    no("--replication-factor", kReplication),

    no("--data-args-path", kOneSource),
    no("--per-split-data-args-path", kOneSource),
    no("--tiktoken-special-tokens", "its name is now --tokenizer-special-tokens"),
    no("--special-tokens", "its name is now --tokenizer-special-tokens"),
    no("--tokenizer-metadata", "--tokenizer-type says what the tokenizer is"),
    no("--tokenizer-sentencepiece-legacy", "special tokens are found in texts with SentencePieceTokenizer alone"),
    no("--tokenizer-sentencepiece-ignore-extra-whitespaces", "the model's own rules hold"),
    no("--null-tokenizer-eod-id", "the last id ends documents"),
    no("--chat-template", "conversations are not read"),
    no("--sft-tokenizer-prompt-format", "conversations are not read"),
    no("--no-pad-vocab-size", "use --make-vocab-size-divisible-by 1"),
    no("--no-data-sharding", "cyclic loading shuffles within each data-parallel rank's share"),
    no("--dataloader-inter-document-masking", kPacking),
    no("--sft", "conversations are not read; packed documents are, with --reset-attention-mask"),
    no("--mid-level-dataset-surplus", "the surplus of blends is fixed at 0.005"),
    no("--fim-data", "fill-in-the-middle data is not built"),
    no("--fim-*", "fill-in-the-middle data is not built"),
    no("--phase-transition-iterations", "a run has one phase"),
    no("--input", kDataTool),
    no("--output-prefix", kDataTool),
    no("--json-keys", kDataTool),
    no("--split-sentences", kDataTool),
    no("--append-eod", kDataTool),
    no("--workers", kDataTool),

    no("--rl-*", kReinforcement),
    no("--grpo-*", kReinforcement),
    no("--perform-rl-step", kReinforcement),
    no("--langrl-env-config", kReinforcement),
    no("--refit-method", kReinforcement),
    no("--use-same-sampling-seed-across-dp-ranks", kReinforcement),
    no("--inprocess-*", kRestarts),
    no("--enable-ft-package", kRestarts),
    no("--calc-ft-timeouts", kRestarts),
    no("--ft-num-warmup-iters", kRestarts),
    no("--adlr-autoresume", kRestarts),
    no("--adlr-autoresume-interval", kRestarts),
    no("--run-workload-inspector-server", kProfiler),
    no("--logits-*", kDistillation),
    no("--freeze-all-layers", "all parameters are trained"),
    no("--dump-param-to-param-group-map", "--help=optimizer says which parameters have weight decay"),
    no("--enable-msc", kStorage),
    no("--object-storage-cache-path", kStorage),
    no("--megatron-fsdp-*", kFsdp),
    no("--fsdp-*", kFsdp),
    no("--torch-fsdp2-no-reshard-after-forward", kFsdp),
    no("--enable-full-sharding-in-hsdp", kFsdp),
    no("--outer-dp-sharding-strategy", kFsdp),
    no("--suggested-communication-unit-size", kFsdp),
    no("--gtp-*", kFsdp),
    no("--keep-fp8-transpose-cache", kFp8),
    no("--reuse-grad-buf-for-mxfp8-param-ag", kFp8),
    no("--te-precision-config-file", kFp8),
    no("--kitchen-*", kFp8),
    no("--mla-down-proj-fusion", kMla),
    no("--no-pin-cpu-grads", kOffload),
    no("--no-pin-cpu-params", kOffload),
    no("--overlap-cpu-optimizer-d2h-h2d", kOffload),
    no("--use-torch-optimizer-for-cpu-offload", kOffload),
    no("--heterogeneous-layers-config-*", "all layers of a kind have one form"),
    // Of Megatron's other programs: T5, BERT, retrieval, vision.
    no("--relative-attention-*", kOneModel),
    no("--bert-*", kOneModel),
    no("--biencoder-*", kOneModel),
    no("--ict-*", kOneModel),
    no("--indexer-*", kOneModel),
    no("--retriever-*", kOneModel),
    no("--block-data-path", kOneModel),
    no("--embedding-path", kOneModel),
    no("--evidence-data-path", kOneModel),
    no("--titles-data-path", kOneModel),
    no("--query-in-block-prob", kOneModel),
    no("--use-one-sent-docs", kOneModel),
    no("--short-seq-prob", kOneModel),
    no("--sample-rate", kOneModel),
    no("--output-bert-embeddings", kOneModel),
    no("--dino-*", kOneModel),
    no("--vision-*", kOneModel),
    no("--img-*", kOneModel),
    no("--swin-backbone-type", kOneModel),
    no("--num-classes", kOneModel),
    no("--num-channels", kOneModel),
    no("--patch-dim", kOneModel),
    no("--classes-fraction", kOneModel),
    no("--data-per-class-fraction", kOneModel),
    no("--iter-per-epoch", kOneModel),
    no("--mask-factor", kOneModel),
    no("--mask-prob", kOneModel),
    no("--mask-type", kOneModel),
    no("--head-lr-mult", kOneModel),
    no("--record-memory-history", kProfiler),
    no("--yaml-cfg", "give flags on the command line"),
};

}  // namespace

std::span<const ForeignFlag> refused_flags() { return kFlags; }

}  // namespace ringtron
