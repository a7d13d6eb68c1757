#include "ringtron/telemetry/event_writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <system_error>
#include <utility>

#include "ringtron/base/error.h"
#include "ringtron/telemetry/event_record.h"

namespace ringtron {
namespace {

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The last number tells files apart that one process begins within one second.
std::filesystem::path new_event_file(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw IoError(fmt::format("cannot make folder {}: {}", folder.string(), error.message()));
  char host[256] = "localhost";
  ::gethostname(host, sizeof host - 1);
  for (int n = 0;; ++n) {
    const auto path = folder / fmt::format("events.out.tfevents.{:010d}.{}.{}.{}",
                                           static_cast<std::int64_t>(wall_time()), host, ::getpid(), n);
    if (!std::filesystem::exists(path, error)) return path;
  }
}

}  // namespace

EventWriter::EventWriter(const std::filesystem::path& folder) : file_(new_event_file(folder)) {
  pending_ = version_record(wall_time());
  flush();
}

EventWriter::~EventWriter() {
  try {
    flush();
  } catch (const IoError&) {
    return;  // whoever must know has called flush()
  }
}

void EventWriter::add_scalar(std::string_view tag, double value, std::int64_t step) {
  pending_ += scalar_record({wall_time(), step}, tag, static_cast<float>(value));
}

void EventWriter::add_text(std::string_view tag, std::string_view text, std::int64_t step) {
  pending_ += text_record({wall_time(), step}, tag, text);
}

void EventWriter::flush() {
  const std::string records = std::exchange(pending_, {});
  if (!records.empty()) file_.write(records);
}

}  // namespace ringtron
