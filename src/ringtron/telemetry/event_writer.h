// Scalars and texts for TensorBoard: one event file of one process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "ringtron/base/file.h"

namespace ringtron {

// Keeps records in memory until flush(); the trainer flushes once for each logging interval, and the
// destructor writes the rest. Not thread-safe; one rank writes (the last, as Megatron does).
class EventWriter {
 public:
  // Makes the folder if it is absent, and a new file events.out.tfevents.<seconds>.<host>.<pid>.<n> in it.
  // Throws IoError.
  explicit EventWriter(const std::filesystem::path& folder);
  ~EventWriter();  // flushes; does not report errors
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  // `step` is the iteration, or consumed samples for the tags that end in " vs samples".
  void add_scalar(std::string_view tag, double value, std::int64_t step);
  // Shown as Markdown; must be UTF-8.
  void add_text(std::string_view tag, std::string_view text, std::int64_t step);

  // Throws IoError; what could not be written is dropped, so that a full disk costs records and no memory.
  void flush();

  const std::filesystem::path& path() const { return file_.path(); }

 private:
  OutputFile file_;
  std::string pending_;
};

}  // namespace ringtron
