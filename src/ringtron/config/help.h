// Text about the flags themselves, generated from the tables: --help, docs/flags.md and a table of
// docs/concepts/checkpoints.md.
#pragma once

#include <string>
#include <string_view>

namespace ringtron {

// Help of one group ("parallel"), of all (empty topic), docs/flags.md (topic "markdown") or the
// table of load_table_markdown() (topic "load"), both without their last newline, wrapped at `columns`. Throws
// ConfigError for another topic, with the topics there are.
std::string help_text(std::string_view topic, int columns);

// The whole of docs/flags.md: options by group, then Megatron-LM's other flags with their verdicts.
std::string flags_markdown();

// What a load does about each configuration field: the table of docs/concepts/checkpoints.md.
std::string load_table_markdown();

// Columns of the terminal behind stdout, between 60 and 100; 100 where stdout is no terminal.
int terminal_columns();

}  // namespace ringtron
