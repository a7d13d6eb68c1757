#include "ringtron/train/profile/step_profile.h"

#include <gmock/gmock.h>

#include <map>

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ContainsRegex;
using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;

TEST(StepProfile, TellsKernelsApart) {
  const std::map<std::string, std::string> kinds = {
      {"nvjet_sm90_tst_256x128_64x4_1x2_h_bz_coopA_TNT", "matrix products"},
      {"cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x64", "attention"},
      {"void cudnn::fusion::compute_dot_do_o_specialized<true, 128>(void const*)", "attention"},
      {"ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "messages"},
      {"ringtron::(anonymous namespace)::forward_kernel(ringtron::ActivationParams)", "activation"},
      {"ringtron::(anonymous namespace)::forward_kernel(ringtron::CrossEntropyForwardParams)", "cross entropy"},
      {"void ringtron::(anonymous namespace)::adamw_kernel(ringtron::AdamwParams)", "optimizer"},
      {"void ringtron::(anonymous namespace)::norm_backward_kernel<8>(ringtron::NormBackwardParams)",
       "norm, residual, dropout"},
      {"Memcpy HtoD (Pinned -> Device)", "copies, fills"},
      {"Memcpy PtoP (Device -> Device)", "messages"},
      {"void at::native::vectorized_elementwise_kernel<4, at::native::AUnaryFunctor<>>",
       "other operations of LibTorch"},
      {"aten::mm", "matrix products"},
      {"something_new", "others"}};
  for (const auto& [name, kind] : kinds) EXPECT_EQ(class_of_event(name), kind) << name;
}

// Two streams that overlap, a gap, and an operation inside another.
TEST(StepProfile, CountsEachNanosecondOnce) {
  const std::vector<ProfiledEvent> events = {{"nvjet", 0, 1000, 1},
                                             {"ncclDevKernel", 500, 2000, 2},
                                             {"aten::linear", 3000, 5000, 3},
                                             {"aten::silu", 3500, 4000, 3},
                                             {"aten::silu", 4000, 4500, 3}};
  const StepProfile profile = profile_of(events);
  EXPECT_DOUBLE_EQ(profile.busy, 4e-6);
  EXPECT_THAT(
      profile.classes,
      ElementsAre(AllOf(Field(&ProfileRow::name, "matrix products"), Field(&ProfileRow::seconds, DoubleEq(2e-6))),
                  AllOf(Field(&ProfileRow::name, "messages"), Field(&ProfileRow::seconds, DoubleEq(1.5e-6))),
                  AllOf(Field(&ProfileRow::name, "activation"), Field(&ProfileRow::events, 2))));
  const auto lines = profile_table(profile, /*steps=*/2, /*wall=*/8e-6, /*most=*/1);
  EXPECT_THAT(lines, Contains(ContainsRegex("matrix products +0.001 +25.0 +1.0$")));
  EXPECT_THAT(lines, Contains(ContainsRegex("nothing runs +0.002 +50.0")));
  EXPECT_THAT(lines, Contains(ContainsRegex("the step +0.004 +100.0 +2.5$")));
  EXPECT_THAT(lines.back(), HasSubstr("ncclDevKernel"));
}

TEST(StepProfile, OfNothing) {
  EXPECT_THAT(profile_table(profile_of({}), 1, 1.0), Contains(HasSubstr("nothing runs")));
}

}  // namespace
}  // namespace ringtron
