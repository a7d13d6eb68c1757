// Flags that name the tokens to train on and the tokenizer that made them.
#include "ringtron/config/option.h"

namespace ringtron {
namespace {

constexpr Option kOptions[] = {
    {"--data-path", FIELD(data.data_path), OnLoad::samples,
     "PREFIX of PREFIX.bin and PREFIX.idx; or several, each read once; or pairs of weight and PREFIX. Cut by --split."},
    {"--train-data-path", FIELD(data.train_data_path), OnLoad::samples, "Like --data-path, used whole for training."},
    {"--valid-data-path", FIELD(data.valid_data_path), OnLoad::told, "Like --data-path, used whole for validation."},
    {"--test-data-path", FIELD(data.test_data_path), OnLoad::told, "Like --data-path, used whole for the test."},
    {"--split",
     FIELD(data.split), OnLoad::samples,
     "Shares of training, validation and test, such as 99,1,0.",
     {},
     Compat::same,
     {.default_text = "\"969, 30, 1\" with --data-path", .needs = "!--mock-data", .otherwise = "samples are made up for each part"}},
    {"--data-cache-path",
     FIELD(data.data_cache_path), OnLoad::free,
     "Folder for the cached sample index.",
     {},
     Compat::same,
     {.default_text = "beside the data", .needs = "!--mock-data"}},
    {"--mock-data",
     FIELD(data.mock_data), OnLoad::samples,
     "Made-up documents instead of files.",
     {},
     Compat::ours,
     {.note = "the documents differ from Megatron's"}},
    {"--num-workers",
     FIELD(data.num_workers), OnLoad::free,
     "Processes that read ahead in Megatron.",
     {.at_least = 0},
     Compat::accepted_no_effect,
     {.note = "each rank has one loader thread, which reads four micro-batches ahead"}},
    {"--dataloader-type",
     FIELD(data.dataloader_type), OnLoad::samples,
     "single: each sample once, in order; cyclic: shuffled anew in each epoch."},
    {"--reset-position-ids", FIELD(data.reset_position_ids), OnLoad::told,
     "Count positions from 0 after each end of document."},
    {"--reset-attention-mask",
     FIELD(data.reset_attention_mask), OnLoad::told,
     "A query sees no key of an earlier document.",
     {},
     Compat::ours,
     {.note = "Megatron's fast kernels ignore it"}},
    {"--eod-mask-loss", FIELD(data.eod_mask_loss), OnLoad::told, "No loss where the input is an end of document."},
    {"--tokenizer-type", FIELD(data.tokenizer_type), OnLoad::must_equal, "Tokenizer of the data."},
    {"--vocab-file", FIELD(data.vocab_file), OnLoad::told, "vocab.json of the tokenizer.",
     {},
     Compat::same,
     {.needs = "--tokenizer-type GPT2BPETokenizer"}},
    {"--merge-file", FIELD(data.merge_file), OnLoad::told, "merges.txt of the tokenizer.",
     {},
     Compat::same,
     {.needs = "--tokenizer-type GPT2BPETokenizer"}},
    {"--vocab-size",
     FIELD(data.vocab_size), OnLoad::must_equal,
     "Number of token ids; with NullTokenizer, whose last id ends documents.",
     {.at_least = 1},
     Compat::ours,
     {.note = "as on Megatron's main branch; up to 0.16 it has one id more there, N, which ends documents: its data needs N + 1 here",
      .unit = "tokens", .default_text = "from the tokenizer", .needs = "--tokenizer-type NullTokenizer", .otherwise = "the tokenizer brings its own"}},
};

}  // namespace

std::span<const Option> data_options() {
  return kOptions;
}

}  // namespace ringtron
