// A Hugging Face folder over tensor, context and pipeline ranks: the weights that one process reads.
#include <gtest/gtest.h>

#include "ringtron/train/checkpoint_loader.h"
#include "ringtron/train/start_up/checkpoint_arguments.h"
#include "tests/hugging_face/small_models.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

Config config_of(const std::string& corpus, const std::string& name, const std::string& layout, int ranks) {
  const std::string line = fmt::format(
      "--load {} --finetune --seq-length 16 --micro-batch-size 1 --global-batch-size 2 --train-iters 1 --lr 0.01 "
      "--data-path {} --split 90,10,0 --eval-iters 0 --distributed-backend gloo --tokenizer-type NullTokenizer "
      "--vocab-size {} --make-vocab-size-divisible-by 8 {}",
      small_model(name).string(), corpus, 31, layout);
  std::vector<std::string> words;
  for (std::string& word : split(line, ' ')) {
    if (!word.empty()) words.push_back(std::move(word));
  }
  return std::get<CommandLine>(parse_command_line(words, ranks, checkpoint_arguments(words).defaults)).config;
}

DIST_TEST(HuggingFaceLoad, GivesEachRankItsPart, 4) {
  const SharedFolder folder(ranks);
  int number = 0;
  for (const char* name : kSmallModels) {
    LogicalTensors expected;
    {
      ToyTraining one(config_of(folder.corpus(), name, "", 1));
      ASSERT_TRUE(load_checkpoint(one.job(), one.state()));
      expected = one.weights();
    }
    for (const char* layout : {"--tensor-model-parallel-size 2 --context-parallel-size 2",
                               "--tensor-model-parallel-size 2 --pipeline-model-parallel-size 2",
                               "--tensor-model-parallel-size 2 --use-distributed-optimizer --bf16"}) {
      const Config config = config_of(folder.corpus(), name, layout, 4);
      ToyTraining run(ranks, number++, config);
      const auto& [last, value_of_last] = *expected.rbegin();  // of embedding or output layer
      const at::Tensor before = run.weights().at(last);
      EXPECT_FALSE(
          before.equal(value_of_last.to(before.scalar_type())));  // negative control: a load that reads nothing
      ASSERT_TRUE(load_checkpoint(run.job(), run.state()));
      const LogicalTensors got = run.weights();
      ASSERT_EQ(got.size(), expected.size());
      for (const auto& [tensor, value] : expected)
        EXPECT_TRUE(got.at(tensor).equal(value.to(got.at(tensor).scalar_type())))
            << name << " " << layout << " " << tensor;
    }
  }
}

}  // namespace
}  // namespace ringtron::testing
