// Gradients of parts that are written where they lie in the gradient of the whole.
#include "ringtron/kernels/device/joined_gradient.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <memory>
#include <string_view>
#include <utility>

#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

struct Held : torch::CustomClassHolder {
  GradientPlace place;
  const void* written = nullptr;
};

// x * 3, whose gradient goes to a place.
class TimesThree : public torch::autograd::Function<TimesThree> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const c10::intrusive_ptr<Held>& held) {
    context->saved_data["held"] = c10::IValue::make_capsule(held);
    return x * 3;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    const auto held = c10::static_intrusive_pointer_cast<Held>(context->saved_data["held"].toCapsule());
    at::Tensor to = held->place.like(grads[0], 4);
    to.copy_(grads[0] * 3);
    held->written = to.const_data_ptr();
    return {to, {}};
  }
};

// Copies that this thread makes, of any tensor.
class CountedCopies {
 public:
  CountedCopies() : handle_(at::addThreadLocalCallback(at::RecordFunctionCallback(count))) { copies_ = 0; }
  ~CountedCopies() { at::removeCallback(handle_); }
  int count() const { return copies_; }

 private:
  static std::unique_ptr<at::ObserverContext> count(const at::RecordFunction& function) {
    if (std::string_view(function.name()) == "aten::copy_") ++copies_;
    return nullptr;
  }
  static inline thread_local int copies_ = 0;
  at::CallbackHandle handle_;
};

class JoinedGradientTest : public ::testing::Test {
 protected:
  at::Tensor through(const at::Tensor& x, const GradientPlace& place) {
    held_ = c10::make_intrusive<Held>();
    held_->place = place;
    return TimesThree::apply(x, held_);
  }
  c10::intrusive_ptr<Held> held_;
};

TEST_F(JoinedGradientTest, PartsAreWrittenInPlaceAndOthersCopied) {
  const at::Tensor x = at::arange(60, at::kDouble).view({3, 20}).requires_grad_();
  const SplitTensor split = split_joined(x, {8, 4, 8});
  EXPECT_TENSOR_EQUAL(split.parts[1].detach(), x.detach().narrow(1, 8, 4));
  const at::Tensor weights = at::arange(24, at::kDouble).view({3, 8});
  const at::Tensor sum = (through(split.parts[0], split.places[0]) * weights).sum() + split.parts[2].square().sum();
  const at::Tensor gradient = torch::autograd::grad({sum}, {x})[0];
  EXPECT_EQ(gradient.const_data_ptr(), held_->written);  // nothing was moved
  EXPECT_TENSOR_EQUAL(gradient.narrow(1, 0, 8), weights * 3);
  EXPECT_TENSOR_EQUAL(gradient.narrow(1, 8, 4), at::zeros({3, 4}, at::kDouble));  // that part was not used
  EXPECT_TENSOR_EQUAL(gradient.narrow(1, 12, 8), x.detach().narrow(1, 12, 8) * 2);
}

// As a Mamba layer divides its rows: nothing is moved on the way through views either, whatever the sizes.
TEST_F(JoinedGradientTest, PartsAreWrittenInPlaceBehindViews) {
  for (const std::int64_t samples : {1, 2}) {
    const at::Tensor x = at::ones({3, samples, 20}, at::kDouble).requires_grad_();
    const SplitTensor split = split_joined(x, {4, 16});
    const at::Tensor sum = through(split.parts[1].view({3, samples, 4, 4}), split.places[1]).sum();
    const auto copies_of = [](const at::Tensor& of, const at::Tensor& to) {
      const CountedCopies copies;
      const at::Tensor gradient = torch::autograd::grad({of}, {to})[0];
      return std::pair{gradient, copies.count()};
    };
    const auto [gradient, copies] = copies_of(sum, x);
    EXPECT_EQ(gradient.narrow(2, 4, 16).const_data_ptr(), held_->written);
    const at::Tensor alone = at::ones({3, samples, 16}, at::kDouble).requires_grad_();
    EXPECT_EQ(copies,
              copies_of(through(alone.view({3, samples, 4, 4}), {}).sum(), alone).second);  // no more than without
  }
}

TEST_F(JoinedGradientTest, APartThatIsUsedTwiceIsSummed) {
  const at::Tensor x = at::ones({2, 8}, at::kDouble).requires_grad_();
  const SplitTensor split = split_joined(x, {4, 4});
  const at::Tensor sum = through(split.parts[0], split.places[0]).sum() + 5 * split.parts[0].sum();
  const at::Tensor gradient = torch::autograd::grad({sum}, {x})[0];
  EXPECT_TENSOR_EQUAL(gradient.narrow(1, 0, 4), at::full({2, 4}, 8.0, at::kDouble));
}

TEST_F(JoinedGradientTest, ASecondBackwardDoesNotTouchTheFirst) {
  const at::Tensor x = at::ones({2, 8}, at::kDouble).requires_grad_();
  const SplitTensor split = split_joined(x, {4, 4});
  const at::Tensor sum = through(split.parts[0], split.places[0]).sum();
  const at::Tensor first = torch::autograd::grad({sum}, {x}, {}, /*retain_graph=*/true)[0], before = first.clone();
  const at::Tensor second = torch::autograd::grad({sum * 2}, {x})[0];
  EXPECT_TENSOR_EQUAL(first, before);
  EXPECT_TENSOR_EQUAL(second, before * 2);
}

TEST_F(JoinedGradientTest, RowsThatBeginElsewhereGetATensorOfTheirOwn) {
  const at::Tensor x = at::ones({2, 3, 9}, at::kDouble).requires_grad_();
  const SplitTensor split = split_joined(x, {4, 5});
  const at::Tensor gradient =
      torch::autograd::grad({through(split.parts[0].view({2, 3, 2, 2}), split.places[0]).sum()}, {x})[0];
  EXPECT_NE(gradient.const_data_ptr(), held_->written);
  EXPECT_TENSOR_EQUAL(gradient.narrow(2, 0, 4), at::full({2, 3, 4}, 3.0, at::kDouble));
}

}  // namespace
}  // namespace ringtron
