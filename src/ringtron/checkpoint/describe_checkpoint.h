// A checkpoint as text for people: `inspect checkpoint DIR`.
#pragma once

#include <filesystem>
#include <string>

namespace ringtron {

// `folder` is a checkpoint (iter_...) or a save folder, of which the newest complete one is shown, and before
// it what is wrong with newer ones. Lists files, tensors with type, shape and how they are cut, and the
// metadata. Reads only the manifest. Throws IoError if there is no complete checkpoint.
std::string describe_checkpoint(const std::filesystem::path& folder);

}  // namespace ringtron
