#include "ringtron/train/loading/hugging_face_loader.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <optional>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/base/text.h"
#include "ringtron/hugging_face/hf_folder.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/loading/read_parameter.h"

namespace ringtron {
namespace {

void require_same_folder(const Job& job, const HfFolder& folder) {
  const auto prints = gather_texts(job.world(), folder.fingerprint());
  run_collectively(job.world(), [&] {
    if (prints[static_cast<std::size_t>(job.rank())] == prints[0]) return;
    throw IoError(fmt::format(
        "{} holds another model on this machine than on that of rank 0. --load must be a folder that all ranks share",
        folder.path().string()));
  });
}

// The flags and the shapes of this run, against the folder's. Says on rank 0 what may differ and does.
void require_same_model(const Job& job, const HfFolder& folder, const TrainingState& state) {
  const StoredDifferences differences = compare_stored_config(stored_config_of(folder.model()), state.config, {});
  std::vector<std::string> faults = differences.refused;
  for (const Parameter* parameter : state.store.all()) {
    const HfMapping* tensor = folder.find(parameter->name);
    if (tensor == nullptr) {
      faults.push_back(fmt::format("{} is missing", parameter->name));
    } else if (!fits(tensor->shape, *parameter, /*finetune=*/true)) {
      faults.push_back(fmt::format("{} has shape {}, this model's is {}", parameter->name, to_string(tensor->shape),
                                   to_string(logical_shape(*parameter))));
    }
  }
  if (!faults.empty()) {
    throw ConfigError(
        fmt::format("{} is of another model than this command line's: {}. Leave out flags of the model: "
                    "they are those of config.json",
                    folder.path().string(), join(faults, "; ")));
  }
  if (!job.is_first_rank()) return;
  for (const std::string& line : differences.told) warn_line("config.json has other flags: {}", line);
  const auto ids = static_cast<std::int64_t>(job.tokenizer().vocab_size());
  if (ids < folder.model().vocabulary) {
    print_line("    the tokenizer has {} ids, the model {}: the rows of the last {} are left out", ids,
               folder.model().vocabulary, folder.model().vocabulary - ids);
  }
}

}  // namespace

void load_hugging_face(const Job& job, TrainingState& state) {
  const std::string& path = job.config()->checkpoint.load;
  std::optional<HfFolder> folder;
  run_collectively(job.world(), [&] { folder.emplace(path); });
  require_same_folder(job, *folder);
  if (job.is_first_rank())
    print_line(" loading weights of a {} model from {}", model_type_of(folder->model().family), path);
  run_collectively(job.world(), [&] {
    require_same_model(job, *folder, state);
    const at::NoGradGuard no_grad;
    for (const Parameter* parameter : state.store.all()) {
      const HfMapping& tensor = *folder->find(parameter->name);
      read_parameter([&](const Slab& slab, std::span<std::byte> out) { folder->read_slice(tensor, slab, out); },
                     *type_of(folder->dtype(tensor)), *parameter, parameter->value.detach(), job);
      folder->release(tensor);
    }
    state.optimizer.restart_from_parameters();
  });
  if (job.is_first_rank()) print_line("  successfully loaded weights from {}; training starts at iteration 0", path);
}

}  // namespace ringtron
