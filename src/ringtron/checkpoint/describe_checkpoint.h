// A checkpoint as text for people: `inspect checkpoint DIR`.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace ringtron {

// `folder` is a checkpoint (iter_...) or a save folder, of which the newest complete one is shown, and before
// it what is wrong with newer ones. Lists files, tensors with type, shape and how they are cut, and the
// metadata. Reads only the manifest. Throws IoError if there is no complete checkpoint.
std::string describe_checkpoint(const std::filesystem::path& folder);

// For other texts about checkpoints. The checkpoint that `folder` is, or the newest complete one in it; appends to
// `text` what is wrong with newer ones. Throws IoError if there is none.
std::filesystem::path choose_checkpoint(const std::filesystem::path& folder, std::string& text);

// An order of tensors' names, layer 2 before layer 10: digits by their number, all else by its bytes.
bool in_layer_order(std::string_view a, std::string_view b);

}  // namespace ringtron
