#include "ringtron/config/stored_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <type_traits>
#include <variant>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/config/option.h"

namespace ringtron {
namespace {

using Json = nlohmann::json;

// JSON numbers convert into each other without a word; these do not. False: it is of another type or does not fit.
bool read_value(const Json& json, bool& value) {
  if (json.is_boolean()) value = json.get<bool>();
  return json.is_boolean();
}

bool read_value(const Json& json, std::int64_t& value) {
  if (!json.is_number_integer()) return false;
  if (json.is_number_unsigned() && json.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()})
    return false;
  value = json.get<std::int64_t>();
  return true;
}

bool read_value(const Json& json, int& value) {
  std::int64_t wide = 0;
  if (!read_value(json, wide) || wide < std::numeric_limits<int>::min() || wide > std::numeric_limits<int>::max())
    return false;
  value = static_cast<int>(wide);
  return true;
}

bool read_value(const Json& json, double& value) {
  if (!json.is_number() || !std::isfinite(json.get<double>())) return false;
  value = json.get<double>();
  return true;
}

bool read_value(const Json& json, std::string& value) {
  if (json.is_string()) value = json.get<std::string>();
  return json.is_string();
}

bool read_value(const Json& json, std::optional<double>& value) {
  value.reset();
  return json.is_null() || read_value(json, value.emplace());
}

template <class T>
bool read_value(const Json& json, std::vector<T>& list) {
  if (!json.is_array()) return false;
  list.clear();
  for (const Json& item : json) {
    if (!read_value(item, list.emplace_back())) return false;
  }
  return true;
}

template <class T>
bool read_value(const Json& json, T* field) {
  return read_value(json, *field);
}

bool read_value(const Json& json, const ChoiceRef&) { return json.is_string(); }  // read_member() sees to the word

std::string_view type_name(const FieldRef& field) {
  constexpr std::string_view kNames[] = {
      "true or false", "a whole number",          "a whole number",  "a finite number",
      "text",          "a finite number or null", "a list of texts", "a list of whole numbers",
      "text"};
  return kNames[field.index()];
}

// For a message: one line, not too long.
std::string shown(const std::string& text) { return excerpt(text, 200); }

std::string shown(const Json& json) { return shown(json.dump(-1, ' ', true, Json::error_handler_t::replace)); }

void read_member(const Option& option, const Json& json, Config& config) {
  const FieldRef field = option.field(config);
  if (!std::visit([&](auto value) { return read_value(json, value); }, field)) {
    throw IoError(
        fmt::format("configuration.{}: expected {}, got {}", option_key(option), type_name(field), shown(json)));
  }
  std::optional<std::string> fault = check_option(option, config);
  const auto* choice = std::get_if<ChoiceRef>(&field);
  if (choice != nullptr && !choice->read(json.get<std::string>()))
    fault = set_option(option, {{json.get<std::string>()}}, config);
  if (option.on_load == OnLoad::free) return;  // an older version may have had other choices
  if (fault) {
    throw IoError(fmt::format("configuration.{}: {}", option_key(option), shown(*fault)));
  }
}

// Sets back what has no effect, so that only differences that mean something are left.
Config effective(Config config) {
  const ModelConfig defaults;
  ModelConfig& m = config.model;
  if (m.position_embedding_type != PositionEmbedding::yarn) {
    m.rotary_scaling_factor = defaults.rotary_scaling_factor;
    m.yarn_original_max_position_embeddings = defaults.yarn_original_max_position_embeddings;
    m.yarn_beta_fast = defaults.yarn_beta_fast;
    m.yarn_beta_slow = defaults.yarn_beta_slow;
    m.mscale = defaults.mscale;
    m.mscale_all_dim = defaults.mscale_all_dim;
    m.yarn_correction_range_round_to_int = defaults.yarn_correction_range_round_to_int;
  }
  if (!m.is_rotary()) {
    m.rotary_base = defaults.rotary_base;
    m.rotary_percent = defaults.rotary_percent;
    m.rotary_interleaved = defaults.rotary_interleaved;
    m.rotary_seq_len_interpolation_factor = defaults.rotary_seq_len_interpolation_factor;
    m.use_rope_scaling = false;
  }
  if (!m.use_rope_scaling) m.rope_scaling_factor = defaults.rope_scaling_factor;
  if (m.hybrid_layer_pattern.empty()) {
    m.mamba_num_heads = defaults.mamba_num_heads;
    m.mamba_head_dim = defaults.mamba_head_dim;
    m.mamba_num_groups = defaults.mamba_num_groups;
    m.mamba_state_dim = defaults.mamba_state_dim;
  }
  if (m.swiglu || m.squared_relu || m.openai_gelu || !m.add_bias_linear) m.bias_gelu_fusion = defaults.bias_gelu_fusion;
  if (!m.window_size.empty() && m.window_size.front() < 0) m.window_size.clear();  // all earlier keys: no window
  std::erase(config.data.split, ' ');
  return config;
}

// The model's class of a field in this run: must_equal, finetune or one of the others.
OnLoad rule_of(const Option& option, const Config& stored, const Config& current) {
  // Between plain rotary positions and YaRN's no weight changes its meaning more than by another base.
  if (option.name == "--position-embedding-type" && stored.model.is_rotary() && current.model.is_rotary())
    return OnLoad::finetune;
  if (option.on_load != OnLoad::positions) return option.on_load;
  const auto learned = [](const Config& c) {
    return c.model.position_embedding_type == PositionEmbedding::learned_absolute;
  };
  return learned(stored) || learned(current) ? OnLoad::must_equal : OnLoad::samples;
}

constexpr DerivedValue kDerived[] = {
    {kVocabularyKey, "content of the tokenizer's files", OnLoad::must_equal,
     "the same text has other ids. Give the files that the checkpoint was trained with"},
};

// Whether the file says nothing about a value that has no default.
bool not_recorded(const Option& option, const StoredConfig& stored) {
  if (option.detail.default_text.empty()) return false;
  if (std::find(stored.absent.begin(), stored.absent.end(), option.name) != stored.absent.end()) return true;
  return option.on_load == OnLoad::must_equal && option_value(option, stored.config) == "0";
}

// A length or schedule for which 0 stands where the flag was not given.
std::string value_or_not_given(const Option& option, const Config& config) {
  const std::string value = option_value(option, config);
  const bool stands_for_none = value == "0" || value == "None";
  return stands_for_none && !option.detail.default_text.empty() && value == option_value(option, Config{})
             ? "not given"
             : shown(value);
}

class Comparison {
 public:
  Comparison(const StoredConfig& stored, const Config& current, const DerivedValues& derived)
      : stored_(stored), derived_(derived), current_(effective(current)), compared_(effective(stored.config)) {}

  void compare(const OptionGroup& group, const Option& option) {
    const OnLoad rule = rule_of(option, compared_, current_);
    const bool of_model = rule == OnLoad::must_equal || rule == OnLoad::finetune;
    const bool finetune = current_.checkpoint.finetune;
    if (rule == OnLoad::free || (finetune && !of_model)) return;
    if (holds_model_alone_ && is_absent(option)) return;
    if (current_.batch.skip_train && (rule == OnLoad::schedule || group.name == "optimizer")) return;
    if (not_recorded(option, stored_)) {
      // What this run has not got either need not be told: heads of Mamba layers.
      const bool given = option_value(option, current_) != option_value(option, Config{});
      if (rule != OnLoad::schedule && given) not_compared_.emplace_back(option.name);
      return;
    }
    const std::string there = option_value(option, compared_), here = option_value(option, current_);
    if (there == here) return;
    std::string name(option.name);
    if (!option.detail.key.empty()) name += fmt::format(" ({})", option_key(option));
    add(rule, fmt::format("{}: {} in the checkpoint, {} here", name, value_or_not_given(option, compared_),
                          value_or_not_given(option, current_)));
  }

  void compare(const DerivedValue& value) {
    const std::string key(value.key);
    const auto here = derived_.find(key), there = stored_.derived.find(key);
    if (here == derived_.end() || !may_differ(value) ||
        (current_.checkpoint.finetune && value.on_load != OnLoad::must_equal))
      return;
    if (there == stored_.derived.end()) {
      if (!holds_model_alone_ && current_.data.tokenizer_type != TokenizerType::null)
        not_compared_.emplace_back(value.what);
    } else if (here->second != there->second) {
      add(value.on_load, fmt::format("{} ({}): {} in the checkpoint, {} here: {}", value.what, key,
                                     shown(there->second), shown(here->second), value.advice));
    }
  }

  StoredDifferences result() {
    if (!not_compared_.empty()) {
      out_.told.push_back(
          fmt::format("not recorded in the checkpoint and not compared: {}", join(not_compared_, ", ")));
    }
    if (!stored_.unknown.empty()) {
      out_.told.push_back(fmt::format("recorded by another version of Ringtron, unknown here and not compared: {}",
                                      shown(join(stored_.unknown, ", "))));
    }
    return std::move(out_);
  }

 private:
  // Whether it can be another one although the flags beside it are equal: of the vocabulary kind and size are told
  // under their own flags. (NullTokenizer has no more than these.)
  bool may_differ(const DerivedValue& value) const {
    if (value.key != kVocabularyKey) return true;
    const DataConfig& there = compared_.data;
    const DataConfig& here = current_.data;
    return there.tokenizer_type == here.tokenizer_type && there.vocab_size == here.vocab_size;
  }

  bool is_absent(const Option& option) const {
    return std::ranges::find(stored_.absent, option.name) != stored_.absent.end();
  }

  void add(OnLoad rule, std::string line) {
    const OptimizerConfig& optimizer = current_.optimizer;
    switch (rule) {
      case OnLoad::must_equal:
        out_.refused.push_back(std::move(line));
        return;
      case OnLoad::finetune:
        if (current_.checkpoint.finetune) {
          out_.told.push_back(std::move(line));
        } else {
          out_.refused.push_back(line + " (may change with --finetune)");
        }
        return;
      case OnLoad::samples:
        out_.told.push_back(line + "; the samples from here on may be others, or come in another order");
        return;
      case OnLoad::schedule:
        if (optimizer.override_opt_param_scheduler) {
          out_.told.push_back(line + "; --override-opt-param-scheduler: the value here counts");
        } else if (optimizer.use_checkpoint_opt_param_scheduler) {
          out_.told.push_back(line + "; --use-checkpoint-opt-param-scheduler: the checkpoint's schedule counts");
        }
        return;  // else the schedule refuses what differs in effect
      default:
        out_.told.push_back(std::move(line));
    }
  }

  const StoredConfig& stored_;
  const DerivedValues& derived_;
  const Config current_, compared_;
  // Weights of another program: every checkpoint of a run says which tokenizer it had.
  const bool holds_model_alone_ = std::ranges::find(stored_.absent, "--tokenizer-type") != stored_.absent.end();
  std::vector<std::string> not_compared_;
  StoredDifferences out_;
};

}  // namespace

std::span<const DerivedValue> derived_values() { return kDerived; }

StoredConfig read_stored_config(const Json& stored) {
  if (!stored.is_object()) throw IoError(fmt::format("configuration: expected an object, got {}", shown(stored)));
  StoredConfig out;
  std::set<std::string> known;
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      const std::string key = option_key(option);
      known.insert(key);
      const auto member = stored.find(key);
      if (member == stored.end()) {
        out.absent.emplace_back(option.name);
      } else {
        read_member(option, *member, out.config);
      }
    }
  }
  for (const DerivedValue& value : derived_values()) {
    const std::string key(value.key);
    known.insert(key);
    const auto member = stored.find(key);
    if (member == stored.end()) continue;
    if (!read_value(*member, out.derived[key])) {
      throw IoError(fmt::format("configuration.{}: expected text, got {}", key, shown(*member)));
    }
  }
  for (const auto& [key, value] : stored.items()) {
    if (!known.contains(key)) out.unknown.push_back(key);
  }
  return out;
}

Config with_model_of(StoredConfig stored, Config config) {
  const auto is_absent = [&](const Option& option) {
    return std::ranges::find(stored.absent, option.name) != stored.absent.end();
  };
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      const bool is_models = option.on_load == OnLoad::must_equal || option.on_load == OnLoad::finetune ||
                             option.on_load == OnLoad::positions || option.name == "--seq-length" ||
                             option.name == "--tokenizer-type" || option.name == "--group-query-attention";
      if (!is_models || is_absent(option)) continue;
      const FieldRef from = option.field(stored.config), into = option.field(config);
      if (const auto* choice = std::get_if<ChoiceRef>(&from)) {
        ChoiceRef(std::get<ChoiceRef>(into)).read(choice->word());
        continue;
      }
      std::visit(
          [&](auto field) {
            if constexpr (std::is_pointer_v<decltype(field)>) *std::get<decltype(field)>(into) = *field;
          },
          from);
    }
  }
  return config;
}

StoredDifferences compare_stored_config(const StoredConfig& stored, const ResolvedConfig& current,
                                        const DerivedValues& derived) {
  return internal::compare_configurations(stored, current, derived);
}

StoredDifferences internal::compare_configurations(const StoredConfig& stored, const Config& current,
                                                   const DerivedValues& derived) {
  Comparison comparison(stored, current, derived);
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) comparison.compare(group, option);
  }
  for (const DerivedValue& value : derived_values()) comparison.compare(value);
  return comparison.result();
}

}  // namespace ringtron
