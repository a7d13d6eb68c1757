// Messages that may quote foreign text (a path, a flag's value), as a terminal and a log may show them.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace ringtron {

// The message with its words as excerpt() gives them, cut after about `word_limit` bytes. Tabs stay, and so do newlines
// before a blank or a rule of dashes: each further line of a message is indented. Any other newline is shown as \x0a,
// as it stood in what is quoted. Every log line, warning and error of a program goes through it (log.h, run_main), so
// no message needs to care for lengths and bytes.
std::string shown_message(std::string_view message, std::size_t word_limit = 400);

// "\n  1. FIRST\n  2. SECOND ...", each as shown_message() gives it; after `most` of them "\n  ... and N more".
std::string numbered(std::span<const std::string> messages, std::size_t most = 20);

}  // namespace ringtron
