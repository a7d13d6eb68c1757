#!/usr/bin/env python3
"""Writes unicode_ranges.h: which code points are letters and which are numbers, for pre_tokenizer.cpp.

  pip install unicodedata2==16.0.0
  python make_unicode_ranges.py > unicode_ranges.h

The version of Unicode is part of the tokenizer: another one gives other ids for newly assigned characters. 16.0 is
what the `tokenizers` wheel 0.23 knows; raise it only together with tests/golden/gpt2_ids.json.
"""
import sys

import unicodedata2

COLUMNS = 110


def ranges(major):
    found, start = [], None
    for code_point in range(0x110001):
        inside = code_point < 0x110000 and unicodedata2.category(chr(code_point))[0] == major
        if inside and start is None:
            start = code_point
        if not inside and start is not None:
            found.append((start, code_point - 1))
            start = None
    return found


def array(name, major):
    found = ranges(major)
    lines, line = [], "   "
    for first, last in found:
        item = f" {{{first:#x}, {last:#x}}},"
        if len(line) + len(item) > COLUMNS:
            lines.append(line)
            line = "   "
        line += item
    lines.append(line)
    return f"inline constexpr CodePointRange {name}[] = {{\n" + "\n".join(lines) + "\n};\n"


def main():
    version = unicodedata2.unidata_version
    sys.stdout.write(f"""// Code points of the categories L* and N* of Unicode {version}, as ascending inclusive ranges.
// Written by make_unicode_ranges.py, which says why the version is fixed. Not for editing.
#pragma once

namespace ringtron {{

struct CodePointRange {{
  char32_t first, last;
}};

// clang-format off
{array("kLetterRanges", "L")}
{array("kNumberRanges", "N")}// clang-format on

}}  // namespace ringtron
""")


main()
