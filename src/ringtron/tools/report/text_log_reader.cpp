#include "ringtron/tools/report/text_log_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "ringtron/base/text.h"

namespace ringtron {
namespace {

constexpr auto kNone = std::string_view::npos;

// Fields of a log line, and their names in lines of JSON; the forks of Megatron-LM have some of their own.
struct Field {
  std::string_view text, name;
  double factor = 1;
};
constexpr Field kFields[] = {
    {"consumed samples", "consumed_samples"},
    {"elapsed time per iteration (ms)", "milliseconds_per_iteration"},
    {"elapsed time per iteration (s)", "milliseconds_per_iteration", 1000},
    {"throughput per GPU (TFLOP/s/GPU)", "tflops_per_gpu"},
    {"TFLOPs", "tflops_per_gpu"},
    {"learning rate", "learning_rate"},
    {"decoupled learning rate", "decoupled_learning_rate"},
    {"global batch size", "global_batch_size"},
    {"loss scale", "loss_scale"},
    {"grad norm", "grad_norm"},
    {"num zeros", "num_zeros"},
    {"params norm", "params_norm"},
    {"number of skipped iterations", "skipped_iterations"},
    {"number of nan iterations", "nan_iterations"},
    {"attention area max/mean", "attention_area_max_over_mean"},
    {"tokens/s", "tokens_per_second"},
};

// The number that `text` is, between blanks.
std::optional<double> number(std::string_view text) {
  text = trim(text);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return std::isfinite(value) ? value : std::numeric_limits<double>::quiet_NaN();
}

// The whole number that follows `mark`, with blanks between.
std::optional<std::int64_t> integer_behind(std::string_view line, std::string_view mark) {
  const std::size_t at = line.find(mark);
  if (at == kNone) return std::nullopt;
  const std::string_view rest = trim(line.substr(at + mark.size()));
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

std::string_view without_launcher(std::string_view line) {
  const std::size_t bracket = line.starts_with("[rank ") || line.starts_with("[default") ? line.find(']') : kNone;
  if (bracket != kNone) {
    line.remove_prefix(bracket + 1);
    if (line.starts_with(":")) line.remove_prefix(1);
    if (line.starts_with(" ")) line.remove_prefix(1);
    return line;
  }
  const std::size_t digits = std::min(line.find_first_not_of("0123456789"), line.size());
  if (digits > 0 && digits < 7 && line.substr(digits).starts_with(": ")) line.remove_prefix(digits + 2);
  return line;
}

// "2026-11-30 00:46:10.834975" from "... [2026-11-30 00:46:10.834975]", or nothing.
std::string time_before(std::string_view text) {
  const std::size_t close = text.rfind(']'), open = text.rfind('[');
  if (open == kNone || close == kNone || close < open || trim(text.substr(close + 1)) != "") return "";
  return std::string(text.substr(open + 1, close - open - 1));
}

}  // namespace

void TextLogReader::read(std::string_view line) {
  line = without_launcher(line);
  while (line.ends_with('\r')) line.remove_suffix(1);
  if (in_arguments_ && read_argument(line)) return;
  if (in_times_ && read_time(line)) return;
  if (line.find("--- arguments ---") != kNone) {
    in_arguments_ = true;
    counts_times_ = false;
    builder_.log().options.clear();
  } else if (const std::size_t at = line.find("validation"); at != kNone && line.find(" loss at ", at) != kNone) {
    read_evaluation(line, at);
  } else if (const std::size_t step = line.find("iteration ");
             step != kNone && line.find('|', step) != kNone && line.find('/', step) < line.find('|', step)) {
    read_step(line, step);
    counts_times_ = true;
  } else if (line.find("time across ranks (ms):") != kNone || line.find("times across ranks (ms):") != kNone) {
    in_times_ = true;
  } else if (line.find("memory (MB)") != kNone) {
    read_memory(line);
  } else if (const auto ranks = integer_behind(line, "using world size:")) {
    builder_.log().world_size = *ranks;
  } else {
    read_transfer(line);
  }
}

void TextLogReader::read_step(std::string_view line, std::size_t begin) {
  const std::vector<std::string> fields = split(line.substr(begin), '|');
  const auto iteration = integer_behind(fields[0], "iteration "), all = integer_behind(fields[0], "/");
  NamedNumbers numbers;
  for (std::size_t i = 1; i + 1 < fields.size(); ++i) {  // each ends in |: what stands behind the last is cut or empty
    const std::size_t colon = fields[i].rfind(':');
    if (colon == std::string::npos) continue;
    const std::string name(trim(std::string_view(fields[i]).substr(0, colon)));
    const auto value = number(std::string_view(fields[i]).substr(colon + 1));
    if (!value) continue;
    const auto known = std::ranges::find(kFields, std::string_view(name), &Field::text);
    if (known != std::end(kFields))
      numbers[std::string(known->name)] = *value * known->factor;
    else if (name.find("loss") != std::string::npos)
      numbers[name] = *value;
  }
  if (!iteration || !all || *iteration < 1 || numbers.empty()) {
    ++builder_.log().unread_lines;
    return;
  }
  if (trim(fields.back()) != "" && fields.back().find("save") == std::string::npos) ++builder_.log().unread_lines;
  builder_.log().train_iterations = *all;
  builder_.step(*iteration, time_before(line.substr(0, begin)), std::move(numbers));
}

// "validation[-SET] loss at iteration 100[ on test set] | lm loss value: 3.2E+00 | ..."
void TextLogReader::read_evaluation(std::string_view line, std::size_t begin) {
  const std::size_t at = line.find(" loss at ", begin);
  const auto iteration = integer_behind(line, "iteration ");
  const std::size_t value = line.find("lm loss value:");
  if (!iteration || value == kNone) return;
  const std::string_view rest = line.substr(value + 14);
  const auto loss = number(rest.substr(0, rest.find('|')));
  if (!loss || rest.find('|') == kNone) {
    ++builder_.log().unread_lines;
    return;
  }
  std::string set(line.substr(begin, at - begin));
  const std::string_view where = line.substr(at, value - at);
  if (where.find("on test set") != kNone) set.replace(0, 10, "test");
  if (where.find("on validation set") != kNone) set.insert(0, "final ");
  builder_.evaluation({set, *iteration, *loss});
}

// "  name ........ value", until the line that ends the listing.
bool TextLogReader::read_argument(std::string_view line) {
  if (line.find("end of arguments") != kNone) {
    in_arguments_ = false;
    return true;
  }
  const std::string_view text = trim(line);
  const std::size_t dots = std::min(text.find(" .."), text.find("  "));  // a long name has none
  if (dots == kNone) {
    in_arguments_ = text.find("iteration ") == kNone;  // a log that was cut and goes on with another run
    return in_arguments_;
  }
  const std::size_t end = std::min(text.find_first_not_of('.', dots + 1), text.size());
  builder_.log().options.emplace_back(text.substr(0, dots), trim(text.substr(end)));
  return true;
}

// "    forward-backward ....: (1.00, 2.00)", "    forward-backward ....: 2.00", or "  forward-backward:" and for each
// rank "     rank  0: 2.00".
bool TextLogReader::read_time(std::string_view line) {
  const std::size_t colon = line.rfind(':');
  const std::string_view name = trim(line.substr(0, std::min(colon, line.find(" .."))));
  const std::string_view value = colon == kNone ? "" : trim(line.substr(colon + 1));
  const auto tell_ranks = [&] {
    if (counts_times_) builder_.part(all_ranks_);
    all_ranks_ = {};
  };
  if (colon != kNone && line.starts_with("     rank ")) {
    const auto rank = number(name.substr(5));
    const auto time = number(value);
    if (!rank || !time || !(*rank >= 0 && *rank <= 1e6)) return true;
    all_ranks_.milliseconds.resize(std::max(all_ranks_.milliseconds.size(), static_cast<std::size_t>(*rank) + 1));
    all_ranks_.milliseconds[static_cast<std::size_t>(*rank)] = *time;
    return true;
  }
  tell_ranks();
  if (colon == kNone || !line.starts_with("  ") || line.find('|') != kNone) {
    in_times_ = false;
    return false;
  }
  if (value.empty()) {
    all_ranks_ = {std::string(name), {}};
    return true;
  }
  const std::size_t comma = value.find(',');
  const bool is_range = value.starts_with('(') && value.ends_with(')') && comma != kNone;
  const auto least = number(is_range ? value.substr(1, comma - 1) : value);
  const auto most = number(is_range ? value.substr(comma + 1, value.size() - comma - 2) : value);
  if (!least || !most) {
    in_times_ = false;
    return false;
  }
  if (name == "save-checkpoint" && !builder_.log().transfers.empty())
    builder_.log().transfers.back().seconds = *most / 1000;
  else if (counts_times_ && name != "save-checkpoint" && name != "evaluate")
    builder_.part_range(std::string(name), *least, *most);
  return true;
}

void TextLogReader::read_memory(std::string_view line) {
  constexpr std::string_view kMark = "| max allocated:";
  const auto iteration = integer_behind(line, "(after ");
  const std::size_t at = line.find(kMark);
  if (!iteration || at == kNone) return;
  const std::string_view rest = line.substr(at + kMark.size());
  if (const auto megabytes = number(rest.substr(0, rest.find('|'))))
    builder_.number(*iteration, "memory_max_allocated_bytes", *megabytes * 1024 * 1024);
}

void TextLogReader::read_transfer(std::string_view line) {
  std::vector<LoggedTransfer>& transfers = builder_.log().transfers;
  if (line.find("successfully loaded checkpoint from") != kNone) {
    if (const auto iteration = integer_behind(line, "at iteration ")) {
      builder_.begin_session(*iteration);
      transfers.push_back({.kind = LoggedTransfer::Kind::load, .iteration = *iteration});
    }
  } else if (line.find("successfully saved checkpoint from iteration") != kNone) {
    if (const auto iteration = integer_behind(line, "from iteration "))
      transfers.push_back({.kind = LoggedTransfer::Kind::save, .iteration = *iteration});
  } else if (const std::size_t at = line.find("GB in "); at != kNone && line.find("GB/s)") != kNone) {
    // "  saved 1.23 GB in 0.80 s (1.54 GB/s)"
    const std::string_view before = trim(line.substr(0, at)), behind = line.substr(at + 6);
    const auto gigabytes = number(before.substr(before.rfind(' ') + 1));
    const auto seconds = number(behind.substr(0, behind.find(" s ")));
    if (transfers.empty() || !gigabytes || !seconds) return;
    transfers.back().bytes = *gigabytes * 1e9;
    transfers.back().seconds = *seconds;
  }
}

}  // namespace ringtron
