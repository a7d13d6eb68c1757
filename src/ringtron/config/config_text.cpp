// Walks all options and writes or compares their values.
#include "ringtron/config/config_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "ringtron/base/text.h"
#include "ringtron/config/option.h"

namespace ringtron {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

void sort_by_name(Pairs& pairs) {
  std::sort(pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return lower(a.first) < lower(b.first); });
}

std::string escape_lines(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

std::map<std::string, std::string> read_lines(std::string_view text) {
  std::map<std::string, std::string> out;
  for (const std::string& line : split(text, '\n')) {
    const std::size_t equal = line.find('=');
    if (equal != std::string::npos) out[line.substr(0, equal)] = line.substr(equal + 1);
  }
  return out;
}

using Json = nlohmann::ordered_json;

template <class T>
Json json_of(const T* field) {
  return *field;
}

Json json_of(const std::optional<double>* field) { return *field ? Json(**field) : Json(nullptr); }

Json json_of(const ChoiceRef& field) { return std::string(field.word()); }

}  // namespace

Pairs list_options(const Config& config) {
  Pairs pairs;
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) pairs.emplace_back(option_key(option), option_value(option, config));
  }
  sort_by_name(pairs);
  return pairs;
}

std::string fingerprint_text(const Config& config) {
  std::string out;
  for (const auto& [name, value] : list_options(config)) out += fmt::format("{}={}\n", name, escape_lines(value));
  return out;
}

std::vector<std::string> diff_fingerprints(std::string_view here, std::string_view there) {
  const auto mine = read_lines(here);
  auto theirs = read_lines(there);
  std::vector<std::string> out;
  for (const auto& [name, value] : mine) {
    const auto other = theirs.find(name);
    const std::string got = other == theirs.end() ? "absent" : other->second;
    if (got != value) out.push_back(fmt::format("{}: {} here, {} there", name, value, got));
    if (other != theirs.end()) theirs.erase(other);
  }
  for (const auto& [name, value] : theirs) out.push_back(fmt::format("{}: absent here, {} there", name, value));
  std::sort(out.begin(), out.end());
  return out;
}

std::string config_to_json(const Config& config) {
  Config copy = config;  // a Field hands out mutable members
  Json json = Json::object();
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      json[option_key(option)] = std::visit([](auto field) { return json_of(field); }, option.field(copy));
    }
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace);  // a path need not be UTF-8
}

std::vector<std::string> argument_dump(const ResolvedConfig& config) {
  constexpr std::size_t kNameColumns = 48;
  Pairs pairs = list_options(config);
  pairs.emplace_back("world_size", fmt::format("{}", config.world_size()));
  pairs.emplace_back("data_parallel_size", fmt::format("{}", config.data_parallel_size()));
  sort_by_name(pairs);
  std::vector<std::string> lines = {"------------------------ arguments ------------------------"};
  for (const auto& [name, value] : pairs) {
    const std::string dots(name.size() < kNameColumns ? kNameColumns - name.size() : 0, '.');
    lines.push_back(fmt::format("  {} {} {}", name, dots, value));
  }
  lines.emplace_back("-------------------- end of arguments ---------------------");
  return lines;
}

}  // namespace ringtron
