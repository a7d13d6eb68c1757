// Flags that were given but have no effect, because something that they need was not.
//
// A flag declares it in its record (Detail::needs): terms with " | " between them, of which one must hold in the
// Config with its defaults filled in:
//
//   --save                          that flag has another value than its default: it was given, or switched on
//   !--mock-data                    it has not
//   --position-embedding-type rope  it has this value, or this word in its list
//   --lr-decay-style !constant      it has another value
//   =--num-attention-heads          it has the value that the flag itself was given
#pragma once

#include <vector>

#include "ringtron/config/notice.h"
#include "ringtron/config/parse.h"

namespace ringtron {

// One warning for each flag of `given` that has no effect. A value that equals the flag's default is passed over: what
// was asked for is what happens. `filled` is given.config after fill_defaults().
std::vector<Notice> flags_without_effect(const CommandLine& given, const Config& filled);

}  // namespace ringtron
