// AdamW: one pass over each tensor, on the CPU and on a GPU (kernels/adamw); fp64 on a GPU by LibTorch's kernel. See
// adam.h.
#include "ringtron/optim/adam.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/kernels/adamw/adamw.h"
#include "ringtron/kernels/adamw/weight_halves.h"
#include "ringtron/optim/main_weight.h"

namespace ringtron {
namespace {

constexpr std::int64_t kGrain = 1 << 14;  // elements for one thread, at least

template <class T>
struct Coefficients {
  T beta1, beta2, rest1, rest2, eps, step_size, root_correction2, decay, scale;
};

template <class T>
Coefficients<T> coefficients(const AdamOptions& o, const AdamStep& s, double scale) {
  const double t = static_cast<double>(s.step);
  const double correction1 = 1.0 - std::pow(o.beta1, t);
  const double correction2 = 1.0 - std::pow(o.beta2, t);
  // 1 - beta in fp64: 1 - 0.999f is 1.3e-5 off.
  return {static_cast<T>(o.beta1),
          static_cast<T>(o.beta2),
          static_cast<T>(1.0 - o.beta1),
          static_cast<T>(1.0 - o.beta2),
          static_cast<T>(o.eps),
          static_cast<T>(s.lr / correction1),
          static_cast<T>(std::sqrt(correction2)),
          static_cast<T>(s.lr * s.weight_decay),
          static_cast<T>(scale)};
}

// `Main` gives and takes the main weight of an element: get(i), put(i, x).
template <class T, class Main>
void update_on_cpu(const AdamTensors& tensors, Coefficients<T> c, Main main) {
  if (!tensors.decays) c.decay = T(0);
  const T* const gradient = tensors.gradient.data_ptr<T>();
  T* const exp_avg = tensors.exp_avg.data_ptr<T>();
  T* const exp_avg_sq = tensors.exp_avg_sq.data_ptr<T>();
  at::parallel_for(0, tensors.main.numel(), kGrain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = gradient[i] * c.scale;
      const T m = c.beta1 * exp_avg[i] + c.rest1 * g;
      const T v = c.beta2 * exp_avg_sq[i] + c.rest2 * g * g;
      exp_avg[i] = m;
      exp_avg_sq[i] = v;
      const T x = main.get(i);
      main.put(i, x - (c.step_size * (m / (std::sqrt(v) / c.root_correction2 + c.eps)) + c.decay * x));
    }
  });
}

template <class T>
struct WholeMain {
  T* x;
  T get(std::int64_t i) const { return x[i]; }
  void put(std::int64_t i, T value) const { x[i] = value; }
};

struct MainInHalves {
  std::uint16_t* upper;
  std::int16_t* lower;
  float get(std::int64_t i) const { return whole_of({upper[i], lower[i]}); }
  void put(std::int64_t i, float value) const {
    const WeightHalves halves = halves_of(value);
    upper[i] = halves.upper;
    lower[i] = halves.lower;
  }
};

bool update_by_kernel(std::span<const AdamTensors> tensors, const AdamOptions& o, const AdamStep& s,
                      const at::Tensor& gradient_scale, const at::Tensor& skip) {
  const Coefficients<double> c = coefficients<double>(o, s, 1.0);
  std::vector<AdamwTensors> all;
  for (const AdamTensors& t : tensors) all.push_back({t.main, t.gradient, t.exp_avg, t.exp_avg_sq, t.lower, t.decays});
  return adamw_fused(all, {c.beta1, c.beta2, c.eps, c.step_size, c.root_correction2, c.decay}, gradient_scale, skip);
}

void update_on_cuda(std::span<const AdamTensors> tensors, const AdamOptions& o, const AdamStep& s,
                    const at::Tensor& gradient_scale, const at::Tensor& skip) {
  if (update_by_kernel(tensors, o, s, gradient_scale, skip)) return;
  // LibTorch's kernel reads the step number on the device; one tensor serves all, since it only reads.
  const at::Tensor step = at::full({}, static_cast<double>(s.step),
                                   tensors.front().exp_avg.options().dtype(at::kFloat).requires_grad(false));
  const at::Tensor scale = gradient_scale.reshape({}).to(tensors.front().exp_avg.scalar_type());
  for (const AdamTensors& t : tensors) {
    t.gradient.mul_(scale);
    const at::Tensor main = t.lower.defined() ? join_halves(t.main, t.lower) : t.main;
    at::_fused_adamw_({main}, {t.gradient}, {t.exp_avg}, {t.exp_avg_sq}, /*max_exp_avg_sqs=*/{}, {step}, s.lr, o.beta1,
                      o.beta2, t.decays ? s.weight_decay : 0.0, o.eps, /*amsgrad=*/false, /*maximize=*/false,
                      /*grad_scale=*/{},
                      /*found_inf=*/skip.defined() ? std::optional(skip) : std::nullopt);
    if (t.lower.defined()) split_into_halves(main, t.main, t.lower);
  }
}

void check(const AdamTensors& t, const at::Tensor& first) {
  RT_CHECK(!t.lower.defined() || (t.main.scalar_type() == at::kBFloat16 && t.lower.scalar_type() == at::kShort &&
                                  t.main.is_contiguous() && t.lower.is_contiguous() &&
                                  t.lower.sizes() == t.main.sizes() && first.scalar_type() == at::kFloat),
           "Adam: expected the halves of a main weight as contiguous bf16 and int16 beside fp32 moments");
  for (const at::Tensor& other : {t.lower.defined() ? t.exp_avg : t.main, t.gradient, t.exp_avg, t.exp_avg_sq}) {
    RT_CHECK(other.defined() && other.is_contiguous() && other.sizes() == t.main.sizes(),
             "Adam: expected contiguous tensors of one shape ({} elements)", t.main.numel());
    RT_CHECK(other.scalar_type() == first.scalar_type() && other.device() == first.device(),
             "Adam: expected all tensors of type {} on {}, got {} on {}", at::toString(first.scalar_type()),
             first.device().str(), at::toString(other.scalar_type()), other.device().str());
  }
}

}  // namespace

void adamw(std::span<const AdamTensors> tensors, const AdamOptions& options, const AdamStep& step,
           const at::Tensor& gradient_scale, const at::Tensor& skip) {
  if (tensors.empty()) return;
  const at::NoGradGuard no_grad;
  const at::Tensor& first = tensors.front().exp_avg;
  for (const AdamTensors& t : tensors) check(t, first);
  RT_CHECK(step.step >= 1, "Adam: expected a step number of at least 1, got {}", step.step);
  RT_CHECK_EQ(gradient_scale.numel(), 1, "elements of the gradient scale");
  RT_CHECK(!skip.defined() || (skip.numel() == 1 && skip.scalar_type() == at::kFloat),
           "Adam: skip must be one number in Float");
  if (first.is_cuda()) {
    update_on_cuda(tensors, options, step, gradient_scale, skip);
    return;
  }
  if (skip.defined() && skip.item<float>() == 1.0f) return;
  const double scale = gradient_scale.item<double>();
  for (const AdamTensors& t : tensors) {
    if (t.lower.defined()) {
      update_on_cpu(
          t, coefficients<float>(options, step, scale),
          MainInHalves{static_cast<std::uint16_t*>(t.main.mutable_data_ptr()), t.lower.data_ptr<std::int16_t>()});
    } else if (first.scalar_type() == at::kDouble) {
      update_on_cpu(t, coefficients<double>(options, step, scale), WholeMain<double>{t.main.data_ptr<double>()});
    } else {
      update_on_cpu(t, coefficients<float>(options, step, scale), WholeMain<float>{t.main.data_ptr<float>()});
    }
  }
}

}  // namespace ringtron
