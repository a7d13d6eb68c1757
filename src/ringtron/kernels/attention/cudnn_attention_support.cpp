// Which blocks cuDNN's attention can compute, from shapes alone.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include "ringtron/kernels/attention/cudnn_attention.h"

namespace ringtron {
namespace {

constexpr std::int64_t kLargestHead = 128;  // what the backward can do on every GPU that we build for
constexpr std::int64_t kHeadMultiple = 8;   // 16 bytes, what one load takes

std::string refusal_of_kind(const at::Tensor& x, const char* name) {
  if (!x.is_cuda()) return fmt::format("{} is on {}, not on a GPU", name, x.device().str());
  if (x.scalar_type() != at::kBFloat16 && x.scalar_type() != at::kHalf) {
    return fmt::format("{} is {}, not BFloat16 or Half", name, c10::toString(x.scalar_type()));
  }
  if (x.dim() != 4) return fmt::format("{} has {} dimensions, not 4", name, x.dim());
  if (x.numel() == 0) return fmt::format("{} is empty", name);
  return "";
}

std::string refusal(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal) {
  if (std::string why = refusal_of_kind(q, "q"); !why.empty()) return why;
  if (std::string why = refusal_of_kind(k, "k"); !why.empty()) return why;
  if (std::string why = refusal_of_kind(v, "v"); !why.empty()) return why;
  if (q.scalar_type() != k.scalar_type() || q.scalar_type() != v.scalar_type()) return "q, k and v differ in type";
  if (k.sizes() != v.sizes()) return "k and v have different shapes";
  if (q.device() != k.device() || q.device() != v.device()) return "q, k and v are on different GPUs";
  if (q.size(1) != k.size(1)) return fmt::format("batch {} of q, {} of k", q.size(1), k.size(1));
  if (q.size(3) != k.size(3)) return fmt::format("head size {} of q, {} of k", q.size(3), k.size(3));
  if (q.size(2) % k.size(2) != 0) {
    return fmt::format("{} query heads are not a multiple of {} key/value heads", q.size(2), k.size(2));
  }
  if (q.size(3) > kLargestHead || q.size(3) % kHeadMultiple != 0) {
    return fmt::format("head size {} is not a multiple of {} up to {}", q.size(3), kHeadMultiple, kLargestHead);
  }
  if (causal && q.size(0) != k.size(0)) {
    return fmt::format("a causal block of {} queries and {} keys is not square", q.size(0), k.size(0));
  }
  if (q.size(0) == 1 && k.size(0) == 1) return "one query and one key: cuDNN's backward refuses it";
  return "";
}

}  // namespace

bool cudnn_attention_supports(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal,
                              std::string* reason) {
  std::string why = refusal(q, k, v, causal);
  const bool supported = why.empty();
  if (reason) *reason = std::move(why);
  return supported;
}

}  // namespace ringtron
