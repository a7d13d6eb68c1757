#include "ringtron/telemetry/tensorboard/event_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/telemetry/tensorboard/event_history.h"
#include "ringtron/telemetry/tensorboard/event_record.h"

namespace ringtron {
namespace {

constexpr std::size_t kMostKept = 16 << 20;  // bytes of records that wait for a disk

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// What may pass by itself; everything else at the start is a wrong path.
bool may_pass(int error) {
  return error == ENOSPC || error == EDQUOT || error == EFBIG || error == EIO || error == ESTALE || error == EMFILE ||
         error == ENFILE;
}

}  // namespace

EventWriter::EventWriter(std::filesystem::path folder, Start start) : folder_(std::move(folder)) {
  begin_session(start);
  const int error = write();
  for (const std::string& name : event_file_names(folder_)) {
    if (folder_ / name == file_.path() || !is_written(folder_ / name)) continue;
    warn_line(
        "another run writes TensorBoard's events in {} at this moment ({}): readers show the points of both as one, and not all of "
        "them. Give each run a folder of its own",
        folder_.string(), name);
    break;
  }
  if (error != 0 && !may_pass(error)) {
    throw IoError(fmt::format("cannot write event files in folder {}: {}", folder_.string(), std::strerror(error)));
  }
  if (error != 0) {
    keep_for_later(error);
  } else {
    forget_pending();
  }
}

EventWriter::~EventWriter() { flush(); }

// A session start takes away the points of all tags from its step on. By iterations that is right for all tags but
// those that count samples, whose steps are larger: of these, what is still so is recorded again behind it. Where
// nothing will be repeated, nothing need be taken away.
void EventWriter::begin_session(Start start) {
  const EventHistory history = read_event_history(folder_);
  const std::int64_t first = start.iteration == 0 ? 0 : start.iteration + 1;
  std::int64_t last = history.last_iteration, last_samples = -1;
  for (const SamplePoint& point : history.sample_points) last_samples = std::max(last_samples, point.samples);
  if (last < first && last_samples <= start.samples) {
    add(session_start_record({wall_time(), std::max({first, last_samples + 1, last + 1})}));
    return;
  }
  if (start.iteration == 0 && last >= 0) {
    warn_line(
        "{} holds the points of another run up to iteration {}, which readers of TensorBoard will no longer show. Give each run a "
        "folder of its own",
        folder_.string(), last);
  }
  add(session_start_record({wall_time(), first}));
  for (const SamplePoint& point : history.sample_points) {
    if (point.samples < first || point.samples > start.samples) continue;
    add(scalar_record({point.wall_time, point.samples}, history.sample_tags[point.tag], point.value));
  }
}

void EventWriter::add(std::string record) {
  pending_ += record;
  ++pending_records_;
}

void EventWriter::add_scalar(std::string_view tag, double value, std::int64_t step) {
  add(scalar_record({wall_time(), step}, tag, static_cast<float>(value)));
}

void EventWriter::add_text(std::string_view tag, std::string_view text, std::int64_t step) {
  add(text_record({wall_time(), step}, tag, text));
}

void EventWriter::forget_pending() {
  pending_records_ = 0;
  pending_.clear();
}

int EventWriter::write() {
  if (!file_.is_open() || !file_.is_in_place()) {
    if (file_.is_open())
      warn_line("the event file {} was deleted or replaced; a new one follows", file_.path().string());
    if (const int error = file_.create(folder_); error != 0) return error;
    if (const int error = file_.append(version_record(wall_time())); error != 0) {
      file_.discard();  // not a file without a version for each try
      return error;
    }
  }
  return file_.append(pending_);
}

void EventWriter::keep_for_later(int error) {
  if (!in_trouble_) {
    warn_line("TensorBoard's events cannot be written in {}: {}. The run goes on and tries again", folder_.string(),
              std::strerror(error));
  }
  in_trouble_ = true;
  if (pending_.size() <= kMostKept) return;
  lost_records_ += pending_records_;
  forget_pending();
}

void EventWriter::flush() {
  if (pending_.empty()) return;
  if (const int error = write(); error != 0) {
    keep_for_later(error);
    return;
  }
  if (in_trouble_) {
    warn_line("TensorBoard's events are written again, to {}; {} of them are lost", file_.path().string(),
              lost_records_);
  }
  in_trouble_ = false;
  lost_records_ = 0;
  forget_pending();
}

}  // namespace ringtron
