#include "ringtron/config/restart_notices.h"

#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace ringtron {
namespace {

bool is_same_folder(const std::string& a, const std::string& b) {
  std::error_code error;
  const auto first = std::filesystem::weakly_canonical(a, error), second = std::filesystem::weakly_canonical(b, error);
  const bool equal = !error && (first / "") == (second / "");
  return !a.empty() && !b.empty() && (a == b || equal);
}

}  // namespace

std::vector<Notice> restart_notices(const Config& config) {
  std::vector<Notice> notices;
  const CheckpointConfig& checkpoint = config.checkpoint;
  if (config.batch.skip_train || !is_same_folder(checkpoint.load, checkpoint.save)) return notices;
  const auto warn = [&](std::string_view flag, std::string_view what) {
    notices.push_back({Notice::Kind::warning, fmt::format("{} with --load equal to --save: {}", flag, what)});
  };
  if (checkpoint.no_load_optim && !checkpoint.finetune) {
    warn("--no-load-optim", "every restart forgets Adam's moments; use it for the first start only");
  }
  if (checkpoint.finetune) {
    warn("--finetune", "every restart begins at iteration 0 again; use it for the first start only");
  }
  if (checkpoint.ckpt_step > 0) {
    warn("--ckpt-step",
         fmt::format("every restart goes back to iteration {}; use it for the first start only", checkpoint.ckpt_step));
  }
  if (checkpoint.no_save_optim && !checkpoint.no_load_optim && !checkpoint.finetune) {
    warn("--no-save-optim", "a restart finds no moments and is refused without --no-load-optim");
  }
  return notices;
}

}  // namespace ringtron
