#include "ringtron/train/report/json_log.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/config/config_text.h"
#include "ringtron/train/cuda_runtime.h"
#include "ringtron/train/device_peak.h"

namespace ringtron {
namespace {

// Opened for each line: a file that was moved or deleted meanwhile is begun anew.
bool append(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::app | std::ios::binary);
  file << text << std::flush;
  return file.good();
}

}  // namespace

StartRecord start_record(const Job& job, std::int64_t train_iterations, const Progress& start) {
  const std::string device = device_name(job.device());
  StartRecord record{.timestamp = local_timestamp(),
                     .iteration = start.iteration,
                     .consumed_samples = start.consumed_train_samples,
                     .train_iterations = train_iterations,
                     .world_size = job.environment().world_size,
                     .device = device,
                     .peak_tflops = peak_tflops(device),
                     .options = list_options(job.config())};
  record.options.emplace_back("world_size", fmt::format("{}", record.world_size));
  record.options.emplace_back("data_parallel_size", fmt::format("{}", job.config().data_parallel_size()));
  return record;
}

JsonLog::JsonLog(std::string path) : path_(std::move(path)) {
  const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
  std::error_code ignored;
  if (!folder.empty()) std::filesystem::create_directories(folder, ignored);
  errno = 0;
  if (!append(path_, "")) {
    throw IoError(fmt::format("--log-jsonl {}: {}. Give a file that can be made and written", path_,
                              errno != 0 ? std::strerror(errno) : "cannot be written"));
  }
}

void JsonLog::write(const std::string& line) {
  const bool is_written = append(path_, line + "\n");
  if (!is_written && !in_trouble_) warn_line("--log-jsonl {} cannot be written; its lines are lost", path_);
  in_trouble_ = !is_written;
}

}  // namespace ringtron
