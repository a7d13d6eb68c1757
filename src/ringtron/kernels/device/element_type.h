// Element types as plain numbers, for files without LibTorch.
#pragma once

namespace ringtron {

enum class Element : int { f32, f16, bf16 };

}  // namespace ringtron
