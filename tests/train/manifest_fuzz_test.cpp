// Thousands of wrong manifests, each with its checksum made right again so that it is really read: every load ends with
// an error that a user can act on, or with exactly the tensors that were saved and a line about what differs.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/hash.h"
#include "ringtron/base/random.h"
#include "ringtron/config/option.h"
#include "ringtron/train/checkpoint_loader.h"
#include "ringtron/train/checkpoint_saver.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

using nlohmann::json;

constexpr int kMutations = 2500;
constexpr int kStep = 2;
constexpr const char* kDouble = "@@twice@@";  // becomes the name of a member that is there already

void collect(const json& value, const json::json_pointer& at, std::vector<json::json_pointer>& out) {
  if (!at.empty()) out.push_back(at);
  if (value.is_object()) {
    for (const auto& [key, member] : value.items()) collect(member, at / key, out);
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i) collect(value[i], at / i, out);
  }
}

const std::vector<json>& strange_values() {
  static const std::vector<json> kValues = {nullptr,
                                            true,
                                            "",
                                            "x",
                                            "nan",
                                            "\u0000\n",
                                            -1,
                                            0,
                                            1,
                                            1.5,
                                            1e300,
                                            -1e300,
                                            9223372036854775807,
                                            18446744073709551615ull,
                                            json::array(),
                                            json::object(),
                                            json::array({1}),
                                            json::object({{"a", 1}}),
                                            json::array({json::array({json::array()})})};
  return kValues;
}

class Mutator {
 public:
  explicit Mutator(json right) : right_(std::move(right)) {
    collect(right_, json::json_pointer(), all_);
    // Tensors are many and alike; half of all mutations go to the rest.
    for (const auto& at : all_) {
      if (at.to_string().rfind("/tensors/", 0) != 0) few_.push_back(at);
    }
  }

  struct Mutation {
    std::string text;             // of the manifest
    std::string member;           // that is changed
    bool means_the_same = false;  // an absent member of the configuration stands for its default
  };

  Mutation make(int number) const {
    auto draw = [&, n = 0u](std::size_t below) mutable {
      return random_word(7, static_cast<std::uint64_t>(number), n++) % below;
    };
    const auto& places = number % 2 == 0 ? few_ : all_;
    json::json_pointer at = places[draw(places.size())];
    json wrong = right_;
    json& value = wrong.at(at);
    json& parent = wrong.at(at.parent_pointer());
    std::string twice;
    bool erased = false;
    switch (draw(6)) {
      case 0:
      case 1:
        value = strange_values()[draw(strange_values().size())];
        break;
      case 2:
        value = right_.at(all_[draw(all_.size())]);
        break;  // of another member
      case 3:
        if (value.is_number_integer()) {
          value = value.get<std::int64_t>() + (draw(2) == 0 ? 1 : -1) * (1 + static_cast<std::int64_t>(draw(3)));
        } else if (value.is_boolean()) {
          value = !value.get<bool>();
        } else if (value.is_string()) {
          value = value.get<std::string>() + "0";
        } else {
          value = json::array({value});
        }
        break;
      case 4:
        erased = parent.is_object();
        if (erased) {
          parent.erase(at.back());
        } else {
          parent.erase(parent.begin() + std::stol(at.back()));
        }
        break;
      default:
        if (parent.is_object()) {
          twice = at.back();
          parent[kDouble] = value;
        } else {
          parent.push_back(value);
        }
    }
    Mutation out{"", at.to_string(), erased || wrong == right_};
    std::string body = wrong.dump(1);
    body.resize(body.size() - 2);
    if (const auto mark = body.find(kDouble); mark != std::string::npos)
      body.replace(mark, std::string(kDouble).size(), twice);
    out.text = body + ",\n \"xxh3\": \"" + hex64(hash64(body)) + "\"\n}\n";
    return out;
  }

 private:
  json right_;
  std::vector<json::json_pointer> all_, few_;
};

std::vector<at::Tensor> tensors_of(TrainingState& state) {
  std::vector<at::Tensor> out;
  for (OptimizerState& s : state.optimizer.states()) {
    const std::int64_t real_rows = s.parameter->real_rows;  // padding is not saved
    for (const at::Tensor& tensor : {s.parameter->value.detach(), s.main(), s.exp_avg, s.exp_avg_sq}) {
      out.push_back((real_rows < 0 ? tensor : tensor.narrow(0, 0, real_rows)).clone());
    }
  }
  return out;
}

void forget(TrainingState& state) {
  const at::NoGradGuard no_grad;
  for (OptimizerState& s : state.optimizer.states()) {
    for (at::Tensor tensor : {s.parameter->value.detach(), s.exp_avg, s.exp_avg_sq}) tensor.fill_(-7);
    if (s.has_own_main()) s.lower.fill_(-7);
  }
}

// Whether a changed `member` of the configuration must be told where the checkpoint is loaded all the same.
bool must_be_told(const std::string& member) {
  const std::string prefix = "/metadata/configuration/";
  if (member.rfind(prefix, 0) != 0) return false;
  const std::string key = member.substr(prefix.size(), member.find('/', prefix.size()) - prefix.size());
  // Without effect in this model, which has rotary positions without scaling, SwiGLU and no Mamba layer.
  for (const std::string_view idle :
       {"rope_scaling_factor", "rotary_scaling_factor", "yarn_", "no_yarn_", "mscale", "bias_gelu_fusion", "mamba_"}) {
    if (key.starts_with(idle)) return false;
  }
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      if (option_key(option) == key) return option.on_load != OnLoad::free && option.on_load != OnLoad::schedule;
    }
  }
  return true;
}

class ManifestFuzz : public ::testing::Test {
 protected:
  ManifestFuzz() {
    write_toy_corpus(dir_ / "corpus");
    const std::string folder = dir_ / "checkpoints";
    run_ = std::make_unique<ToyTraining>(
        toy_config({}, dir_ / "corpus",
                   fmt::format("{} --num-layers 1 --save {} --save-interval 2 --load {}", kLlamaLike, folder, folder)));
    const auto loader = run_->loader();
    for (int step = 0; step < kStep; ++step) run_->parts().step().run(*loader);
    CheckpointSaver(run_->job()).save(run_->state());
    saved_ = tensors_of(run_->state());
    manifest_ = std::filesystem::path(folder) / "iter_0000002/manifest.json";
  }

  // Whether it is loaded; what was printed goes to `told`. Any other error than a user's is a failure of the test.
  bool load(std::string& told) {
    forget(run_->state());
    ::testing::internal::CaptureStderr();
    ::testing::internal::CaptureStdout();
    bool loaded = false;
    std::string fault, refused;
    try {
      loaded = load_checkpoint(run_->job(), run_->state());
      if (!loaded) fault = "it counts as absent";
    } catch (const IoError& e) {
      refused = e.what();
    } catch (const ConfigError& e) {
      refused = e.what();
    } catch (const std::exception& e) {
      fault = e.what();
    }
    ::testing::internal::GetCapturedStdout();
    told = ::testing::internal::GetCapturedStderr();
    EXPECT_EQ(fault, "");
    EXPECT_TRUE(loaded || refused.find("checkpoint") != std::string::npos) << refused;
    return loaded;
  }

  void expect_the_saved_tensors() {
    const auto got = tensors_of(run_->state());
    ASSERT_EQ(got.size(), saved_.size());
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_TRUE(at::equal(got[i], saved_[i])) << "tensor " << i;
    EXPECT_EQ(run_->state().progress.iteration, kStep);
  }

  TempDir dir_;
  std::unique_ptr<ToyTraining> run_;
  std::vector<at::Tensor> saved_;
  std::filesystem::path manifest_;
};

// Counts that are each within their bounds, and cannot be together.
TEST_F(ManifestFuzz, CountsThatCannotBeTogetherAreRefused) {
  const json right = json::parse(read_file(manifest_));
  const std::int64_t batch = run_->job().config()->batch.global_batch_size;
  std::string told;
  const auto loads = [&](const json& change) {
    json forged = right;
    forged.erase("xxh3");
    forged.at("metadata").merge_patch(change);
    std::string body = forged.dump(1);
    body.resize(body.size() - 2);
    std::ofstream(manifest_, std::ios::binary) << body << ",\n \"xxh3\": \"" << hex64(hash64(body)) << "\"\n}\n";
    return load(told);
  };
  const auto after = [](const std::vector<std::pair<const char*, int>>& ancestors, json change = json::object()) {
    change["lineage"]["ancestors"] = json::array();
    for (const auto& [run, iteration] : ancestors)
      change["lineage"]["ancestors"].push_back({{"run", run}, {"iteration", iteration}});
    return change;
  };
  const auto samples = [](std::int64_t count) {
    return json{{"consumed_train_samples", count}, {"opt_param_scheduler", {{"num_steps", fmt::format("{}", count)}}}};
  };
  constexpr const char* kRun = "0123456789abcdef";
  EXPECT_TRUE(loads(json::object())) << "positive control";
  // One run: an iteration is a batch and a step of the optimizer.
  for (const int steps : {0, 1}) EXPECT_FALSE(loads({{"optimizer_step_count", steps}})) << steps;
  for (const std::int64_t count : {2 * batch - 1, 2 * batch + 1, 3 * batch})
    EXPECT_FALSE(loads(samples(count))) << count;
  EXPECT_FALSE(loads({{"opt_param_scheduler", {{"num_steps", "0"}}}}));
  // A run that went on from iteration 1, perhaps without its optimizer, perhaps with another batch before.
  EXPECT_TRUE(loads(after({{kRun, 1}})));
  EXPECT_TRUE(loads(after({{kRun, 1}}, {{"optimizer_step_count", 1}})));
  EXPECT_FALSE(loads(after({{kRun, 1}}, {{"optimizer_step_count", 0}})));
  EXPECT_TRUE(loads(after({{kRun, 1}}, samples(batch + 1))));
  EXPECT_FALSE(loads(after({{kRun, 1}}, samples(batch))));
  // What a version without lineage had behind it nobody knows.
  EXPECT_TRUE(loads(after({{"", 2}}, {{"optimizer_step_count", 1}})));
  EXPECT_FALSE(loads(after({{"", 1}}, {{"optimizer_step_count", 0}})));
  EXPECT_TRUE(loads({{"lineage", nullptr}, {"optimizer_step_count", 1}}));
  // Ancestors that come later than what they are ancestors of.
  EXPECT_FALSE(loads(after({{kRun, 3}})));
  EXPECT_FALSE(loads(after({{kRun, 2}, {kRun, 1}})));
}

TEST_F(ManifestFuzz, EveryWrongManifestIsRefusedOrLoadsWhatWasSaved) {
  const std::string right = read_file(manifest_);
  std::string told;
  ASSERT_TRUE(load(told)) << "positive control";
  ASSERT_EQ(told, "");
  expect_the_saved_tensors();
  json value = json::parse(right);
  value.erase("xxh3");
  const Mutator mutator(value);
  int loaded = 0;
  for (int number = 0; number < kMutations && !HasFailure(); ++number) {
    const Mutator::Mutation mutation = mutator.make(number);
    SCOPED_TRACE(fmt::format("mutation {} of {}", number, mutation.member));
    std::ofstream(manifest_, std::ios::binary) << mutation.text;
    if (!load(told)) continue;
    ++loaded;
    expect_the_saved_tensors();
    if (must_be_told(mutation.member) && !mutation.means_the_same) {
      EXPECT_NE(told, "") << "loaded without a word";
    }
  }
  EXPECT_GT(loaded, 50) << "of the free members";
  EXPECT_LT(loaded, kMutations / 2) << "most are refused";
}

}  // namespace
}  // namespace ringtron::testing
