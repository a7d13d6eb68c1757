// Scalars and texts for TensorBoard: the event file of one process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "ringtron/telemetry/tensorboard/event_file.h"

namespace ringtron {

// Keeps records in memory until flush(); the trainer flushes once for each logging interval, and the destructor writes
// the rest. What goes wrong with the file after the start (a full disk, a deleted folder) ends nothing: it is told once
// on stderr, the records are kept up to a bound and tried again at each flush, in a new file where the old one is gone,
// and when it works again that is told too, with what was lost. Not thread-safe; one rank writes (the last, as Megatron
// does).
class EventWriter {
 public:
  // Where the run stands that writes: what the folder holds of later steps will be recorded again.
  struct Start {
    std::int64_t iteration = 0;
    std::int64_t samples = 0;  // consumed
  };

  // Makes the folder if it is absent, and a new file in it. Its first records make readers forget what a resumed run
  // repeats, and nothing else: see docs/formats/event_file.md. Warns where a fresh run makes them forget another one,
  // and where another one writes there at this moment. Throws IoError where the folder cannot be made or written; a
  // full disk counts as trouble to be waited out.
  explicit EventWriter(std::filesystem::path folder, Start start = {0, 0});
  ~EventWriter();
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  // `step` is the iteration, or consumed samples for the tags that end in " vs samples".
  void add_scalar(std::string_view tag, double value, std::int64_t step);
  // Shown as Markdown; must be UTF-8.
  void add_text(std::string_view tag, std::string_view text, std::int64_t step);

  // Does not throw.
  void flush();

  const std::filesystem::path& path() const { return file_.path(); }

 private:
  void begin_session(Start start);
  void add(std::string record);
  // 0 or the system's error number.
  int write();
  void keep_for_later(int error);
  void forget_pending();

  std::filesystem::path folder_;
  EventFile file_;
  std::string pending_;
  std::int64_t pending_records_ = 0;
  std::int64_t lost_records_ = 0;
  bool in_trouble_ = false;
};

}  // namespace ringtron
