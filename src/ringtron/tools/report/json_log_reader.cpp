#include "ringtron/tools/report/json_log_reader.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "ringtron/base/text.h"

namespace ringtron {
namespace {

using Json = nlohmann::ordered_json;  // parts of a step come in their order

Json parsed(std::string_view text) { return Json::parse(text, nullptr, /*allow_exceptions=*/false); }

// What a member holds, or `otherwise` if it is absent or of another type; null is a number that was not finite.
double number_of(const Json& line, const char* name, double otherwise = 0) {
  const auto found = line.find(name);
  if (found == line.end()) return otherwise;
  if (found->is_null()) return std::numeric_limits<double>::quiet_NaN();
  return found->is_number() ? found->get<double>() : otherwise;
}

std::int64_t integer_of(const Json& line, const char* name) {
  const auto found = line.find(name);
  return found != line.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

std::string text_of(const Json& line, const char* name) {
  if (!line.is_object()) return {};
  const auto found = line.find(name);
  return found != line.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<double> optional_of(const Json& line, const char* name) {
  const auto found = line.find(name);
  return found != line.end() && found->is_number() ? std::optional(found->get<double>()) : std::nullopt;
}

void read_start(const Json& line, RunLogBuilder& builder) {
  RunLog& log = builder.log();
  builder.begin_session(integer_of(line, "iteration"));
  log.train_iterations = integer_of(line, "train_iterations");
  log.world_size = integer_of(line, "world_size");
  log.device = text_of(line, "device");
  log.peak_tflops = optional_of(line, "peak_tflops");
  const auto options = line.find("options");
  if (options == line.end() || !options->is_object()) return;
  log.options.clear();
  for (const auto& [name, value] : options->items()) {
    log.options.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
  }
}

void read_train(const Json& line, RunLogBuilder& builder) {
  const std::int64_t iteration = integer_of(line, "iteration");
  NamedNumbers numbers;
  for (const auto& [name, value] : line.items()) {
    if (name == "iteration" || name == "train_iterations") continue;
    if (value.is_number() || value.is_null()) numbers[name] = number_of(line, name.c_str());
  }
  builder.log().train_iterations = integer_of(line, "train_iterations");
  builder.step(iteration, text_of(line, "time"), std::move(numbers));
  const auto parts = line.find("milliseconds_of_ranks");
  if (parts == line.end() || !parts->is_object()) return;
  for (const auto& [name, ranks] : parts->items()) {
    PartTimes times{name, {}};
    for (const Json& time : ranks) times.milliseconds.push_back(time.is_number() ? time.get<double>() : 0.0);
    builder.part(times);
  }
}

void read_evaluation(const Json& line, RunLogBuilder& builder) {
  const std::string on = text_of(line, "on"), set = text_of(line, "set");
  builder.evaluation({set.empty() ? on : on + "-" + set, integer_of(line, "iteration"), number_of(line, "lm loss")});
}

void read_transfer(const Json& line, LoggedTransfer::Kind kind, RunLogBuilder& builder) {
  builder.log().transfers.push_back({kind, integer_of(line, "iteration"), text_of(line, "time"),
                                     optional_of(line, "seconds"), optional_of(line, "bytes"),
                                     optional_of(line, "seconds_waited")});
}

}  // namespace

bool is_json_log_line(std::string_view line) { return !text_of(parsed(line), "kind").empty(); }

void read_json_log_line(std::string_view line, RunLogBuilder& builder) {
  if (trim(line).empty()) return;
  Json read = parsed(line);
  if (!read.is_object()) {
    ++builder.log().unread_lines;
    // A run that was killed has left a part of a line, behind which the next one went on.
    const std::size_t next = line.rfind("{\"kind\":");
    if (next == std::string_view::npos) return;
    read = parsed(line.substr(next));
    if (!read.is_object()) return;
  }
  const std::string kind = text_of(read, "kind");
  if (kind == "start") read_start(read, builder);
  if (kind == "train") read_train(read, builder);
  if (kind == "evaluation") read_evaluation(read, builder);
  if (kind == "load") read_transfer(read, LoggedTransfer::Kind::load, builder);
  if (kind == "save") read_transfer(read, LoggedTransfer::Kind::save, builder);
}

}  // namespace ringtron
