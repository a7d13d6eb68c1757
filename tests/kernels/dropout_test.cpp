// The dropout mask belongs to the global element: no cut of the tensor changes it, and the backward makes it
// again.
#include "ringtron/kernels/dropout/dropout.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/random.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const at::ScalarType kTypes[] = {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16};
constexpr std::uint64_t kKey = 0x123456789abcdefull;

DropoutRegion region_of(const std::vector<std::int64_t>& positions, const std::vector<std::int64_t>& samples) {
  return {at::tensor(positions, at::kLong), at::tensor(samples, at::kLong)};
}

DropoutRegion first_rows(std::int64_t rows, std::int64_t batch) {
  return {at::arange(rows, at::kLong), at::arange(batch, at::kLong)};
}

// Where ones are kept.
at::Tensor mask(double p, std::uint64_t key, const DropoutRegion& region, std::int64_t width) {
  const at::Tensor ones = at::ones({region.positions.numel(), region.sample_numbers.numel(), width}, at::kDouble);
  return dropout(ones, p, key, region).ne(0);
}

void expect_share(const at::Tensor& hits, double share) {
  const double count = static_cast<double>(hits.numel());
  const double sigma = std::sqrt(share * (1 - share) / count);
  EXPECT_NEAR(hits.to(at::kDouble).mean().item<double>(), share, 4 * sigma);
}

TEST(Dropout, KeepsByTheWordOfTheGlobalElement) {
  constexpr double kP = 0.3;
  const std::vector<std::int64_t> positions{5, 0, 1000003}, samples{9, 2};
  for (const std::int64_t width : {1, 4, 7, 10}) {  // lines that start at every place in a block of four words
    const at::Tensor x = testing::random_tensor({3, 2, width}, 1);
    at::Tensor expected = at::empty_like(x);
    for (std::int64_t s = 0; s < 3; ++s) {
      for (std::int64_t b = 0; b < 2; ++b) {
        for (std::int64_t i = 0; i < width; ++i) {
          const std::uint32_t word = random_word(kKey, samples[b], positions[s] * width + i);
          const bool keep = word >= kP * 4294967296.0;
          expected[s][b][i] = keep ? x[s][b][i] * (1 / (1 - kP)) : at::zeros({}, at::kDouble);
        }
      }
    }
    EXPECT_TENSOR_EQUAL(dropout(x, kP, kKey, region_of(positions, samples)), expected);
  }
}

TEST(Dropout, AnyCutGivesTheSameBits) {
  const std::vector<std::vector<std::int64_t>> cuts{{0, 1, 2, 3, 4, 5},
                                                    {6, 7, 8, 9, 10, 11},  // halves
                                                    {0, 1, 2, 9, 10, 11},
                                                    {3, 4, 5, 6, 7, 8},  // zigzag of two ranks
                                                    {11, 0, 5},
                                                    {7},
                                                    {},
                                                    {11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}};
  const std::vector<std::vector<std::int64_t>> batches{{0, 1, 2}, {2, 0}, {1}};
  for (const at::ScalarType type : kTypes) {
    const at::Tensor x = testing::random_tensor({12, 3, 7}, 2).to(type);
    const at::Tensor whole = dropout(x, 0.4, kKey, first_rows(12, 3));
    for (const auto& rows : cuts) {
      for (const auto& batch : batches) {
        const DropoutRegion region = region_of(rows, batch);
        const auto piece = [&](const at::Tensor& of) {
          return of.index_select(0, region.positions).index_select(1, region.sample_numbers);
        };
        EXPECT_TENSOR_EQUAL(dropout(piece(x), 0.4, kKey, region), piece(whole));
      }
    }
  }
}

TEST(Dropout, WrongPositionsAreNoticed) {  // negative control of the test above
  const at::Tensor x = testing::random_tensor({12, 3, 7}, 2);
  const at::Tensor whole = dropout(x, 0.4, kKey, first_rows(12, 3));
  const at::Tensor half = x.narrow(0, 6, 6), expected = whole.narrow(0, 6, 6);
  EXPECT_FALSE(testing::tensor_equal(dropout(half, 0.4, kKey, first_rows(6, 3)), expected));
  EXPECT_FALSE(testing::tensor_equal(
      dropout(half, 0.4, kKey, {at::arange(6, 12, at::kLong), at::tensor({0, 2, 1}, at::kLong)}), expected));
}

TEST(Dropout, StridedInputAndRegion) {
  const at::Tensor x = testing::random_tensor({3, 12, 7}, 3).transpose(0, 1);
  const DropoutRegion odd{at::arange(24, at::kLong).slice(0, 1, 24, 2), at::arange(6, at::kLong).slice(0, 0, 6, 2)};
  const DropoutRegion plain{odd.positions.contiguous(), odd.sample_numbers.contiguous()};
  EXPECT_TENSOR_EQUAL(dropout(x, 0.5, kKey, odd), dropout(x.contiguous(), 0.5, kKey, plain));
}

TEST(Dropout, RateIsP) {
  for (const double p : {0.01, 0.1, 0.5, 0.9}) {
    const at::Tensor kept = mask(p, kKey, first_rows(64, 8), 128);
    expect_share(kept.logical_not(), p);
    expect_share(kept.select(0, 3).logical_not(), p);
    expect_share(kept.select(1, 3).logical_not(), p);
    expect_share(kept.select(2, 3).logical_not(), p);
  }
}

TEST(Dropout, ScalesInWideArithmetic) {
  for (const at::ScalarType type : kTypes) {
    const at::Tensor x = testing::random_tensor({32, 2, 33}, 4).to(type);
    const at::Tensor y = dropout(x, 0.1, kKey, first_rows(32, 2));
    const at::ScalarType wide = type == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor scaled = (x.to(wide) * (1 / 0.9)).to(type);
    EXPECT_EQ(y.scalar_type(), type);
    EXPECT_TENSOR_EQUAL(y, at::where(y.ne(0), scaled, at::zeros_like(scaled)));
  }
}

TEST(Dropout, BackwardHasTheForwardMask) {
  for (const at::ScalarType type : kTypes) {
    const at::Tensor x = testing::random_tensor({16, 3, 9}, 5).to(type).requires_grad_();
    const at::Tensor grad = testing::random_tensor({16, 3, 9}, 6).to(type);
    const DropoutRegion region = region_of({8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7}, {3, 1, 4});
    dropout(x, 0.25, kKey, region).backward(grad);
    EXPECT_TENSOR_EQUAL(x.grad(), dropout(grad, 0.25, kKey, region));
    EXPECT_TENSOR_EQUAL(x.grad().ne(0), mask(0.25, kKey, region, 9));
  }
}

TEST(Dropout, SeedStepLayerPlaceAndSampleChangeTheMask) {
  constexpr double kP = 0.3;
  const std::vector<std::uint64_t> keys{random_key(1234, 5, 6, 7), random_key(1235, 5, 6, 7),
                                        random_key(1234, 6, 6, 7), random_key(1234, 5, 7, 7),
                                        random_key(1234, 5, 6, 8), random_key(1234, 6, 5, 7)};
  std::vector<at::Tensor> masks;
  for (const std::uint64_t key : keys) masks.push_back(mask(kP, key, first_rows(64, 4), 64));
  masks.push_back(mask(kP, keys[0], region_of(std::vector<std::int64_t>(64, 1), {4, 5, 6, 7}), 64));
  for (std::size_t i = 0; i + 1 < masks.size(); ++i) {
    for (std::size_t j = i + 1; j + 1 < masks.size(); ++j)
      expect_share(masks[i].eq(masks[j]), kP * kP + (1 - kP) * (1 - kP));
  }
  const at::Tensor& samples = masks.back();  // one position, four samples
  expect_share(samples[0][0].eq(samples[0][1]), kP * kP + (1 - kP) * (1 - kP));
  EXPECT_EQ(random_key(1234, 5, 6, 7), keys[0]);
  EXPECT_THROW(random_key(1, 1, 1, 256), InternalError);  // would be place 0 of the next layer
}

TEST(Dropout, ZeroProbabilityIsTheIdentity) {
  const at::Tensor x = testing::random_tensor({2, 2, 2}, 7).requires_grad_();
  EXPECT_TRUE(dropout(x, 0.0, kKey, {}).is_same(x));
}

TEST(Dropout, EmptyTensors) {
  EXPECT_EQ(dropout(at::empty({0, 3, 4}), 0.5, kKey, first_rows(0, 3)).numel(), 0);
  EXPECT_EQ(dropout(at::empty({3, 0, 4}), 0.5, kKey, first_rows(3, 0)).numel(), 0);
  EXPECT_EQ(dropout(at::empty({3, 3, 0}), 0.5, kKey, first_rows(3, 3)).numel(), 0);
}

TEST(Dropout, RefusesWhatItCannotDo) {
  const at::Tensor x = at::ones({4, 2, 3});
  EXPECT_THAT([&] { dropout(x, 0.5, kKey, first_rows(3, 2)); },
              ThrowsMessage<InternalError>(HasSubstr("positions for the rows of x")));
  EXPECT_THAT([&] { dropout(x, 0.5, kKey, first_rows(4, 1)); },
              ThrowsMessage<InternalError>(HasSubstr("sample numbers for the batch of x")));
  EXPECT_THAT([&] { dropout(x.to(at::kInt), 0.5, kKey, first_rows(4, 2)); },
              ThrowsMessage<InternalError>(HasSubstr("expected fp64, fp32, fp16 or bf16")));
  EXPECT_THAT([&] { dropout(x, 1.0, kKey, first_rows(4, 2)); },
              ThrowsMessage<InternalError>(HasSubstr("probability 1 is not in [0, 1)")));
}

}  // namespace
}  // namespace ringtron
