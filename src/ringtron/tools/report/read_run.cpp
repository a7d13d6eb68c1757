#include "ringtron/tools/report/read_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <tuple>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/tools/report/json_log_reader.h"
#include "ringtron/tools/report/text_log_reader.h"

namespace ringtron {
namespace {

namespace fs = std::filesystem;

// Whether one of the first lines is one of --log-jsonl; the very first may have been cut.
bool is_json_log(const fs::path& file) {
  constexpr int kTries = 10;
  std::ifstream in(file);
  std::string line;
  for (int i = 0; i < kTries && std::getline(in, line); ++i) {
    if (is_json_log_line(line)) return true;
  }
  return false;
}

enum class Extent { all, first_step };

// To the end, or until a step has been told. Returns how many lines there were.
std::int64_t read_file_into(const fs::path& file, RunLogBuilder& builder, Extent extent = Extent::all) {
  std::ifstream in(file);
  if (!in) throw IoError(fmt::format("{} cannot be read", file.string()));
  const bool is_json = is_json_log(file);
  TextLogReader text(builder);
  std::int64_t lines = 0;
  for (std::string line; std::getline(in, line); ++lines) {
    if (is_json)
      read_json_log_line(line, builder);
    else
      text.read(line);
    if (extent == Extent::first_step && !builder.log().steps.empty()) break;
  }
  if (in.bad()) throw IoError(fmt::format("{} cannot be read to its end", file.string()));
  return lines;
}

struct Candidate {
  std::string first_time;
  fs::path file;
  bool is_json = false;
};

// The files of a folder that hold log lines.
std::vector<Candidate> logs_in(const fs::path& folder) {
  std::vector<Candidate> found;
  const auto look_at = [&](const fs::directory_entry& entry) {
    const std::string suffix = entry.path().extension().string();
    const bool is_json = suffix == ".jsonl";
    if (!entry.is_regular_file() || (!is_json && suffix != ".log" && suffix != ".txt" && suffix != ".out")) return;
    if (is_json && !is_json_log(entry.path())) return;
    RunLogBuilder builder;
    read_file_into(entry.path(), builder, Extent::first_step);
    if (!builder.log().steps.empty()) found.push_back({builder.log().first_time, entry.path(), is_json});
  };
  try {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      look_at(entry);
      if (!entry.is_directory() || entry.path().filename().string().starts_with("iter_")) continue;
      for (const fs::directory_entry& below : fs::directory_iterator(entry)) look_at(below);
    }
  } catch (const fs::filesystem_error& error) {
    throw IoError(fmt::format("{} cannot be looked through: {}", folder.string(), error.code().message()));
  }
  const bool has_json = std::ranges::any_of(found, &Candidate::is_json);
  std::erase_if(found, [&](const Candidate& c) { return c.is_json != has_json; });
  std::ranges::sort(found, {}, [](const Candidate& c) { return std::tie(c.first_time, c.file); });
  return found;
}

// Of "runs/seven/log.jsonl" seven: the file says nothing.
std::string name_of(const fs::path& path) {
  const fs::path given = fs::absolute(path).lexically_normal();
  const fs::path plain = given.has_filename() ? given : given.parent_path();
  const bool says_nothing = plain.stem() == "log" && plain.has_extension();
  return says_nothing ? plain.parent_path().filename().string() : plain.filename().string();
}

}  // namespace

RunLog read_run(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) throw IoError(fmt::format("{}: no such file or folder", path.string()));
  RunLogBuilder builder;
  std::int64_t lines = 0;
  if (fs::is_directory(status)) {
    const std::vector<Candidate> logs = logs_in(path);
    if (logs.empty()) {
      throw ConfigError(fmt::format(
          "{}: expected a log of a run in this folder or one below: the *.jsonl of --log-jsonl, or what the "
          "run printed (*.log, *.txt, *.out). Give the file, if it is elsewhere",
          path.string()));
    }
    for (const Candidate& log : logs) lines += read_file_into(log.file, builder);
  } else {
    lines = read_file_into(path, builder);
  }
  if (builder.log().steps.empty() && builder.log().evaluations.empty()) {
    throw ConfigError(
        fmt::format("{}: expected log lines of a run (the file of --log-jsonl, or what the run printed), found none in "
                    "{} lines",
                    path.string(), lines));
  }
  return builder.finish(name_of(path));
}

}  // namespace ringtron
