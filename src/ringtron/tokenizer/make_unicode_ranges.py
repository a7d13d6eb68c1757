#!/usr/bin/env python3
"""Writes unicode_ranges.h (letters, numbers) and pipeline/unicode_cases.h (marks, cases) for the scanners of words.

  pip install unicodedata2==16.0.0
  python make_unicode_ranges.py > unicode_ranges.h
  python make_unicode_ranges.py cases > pipeline/unicode_cases.h

The version of Unicode is part of the tokenizer: another one gives other ids for newly assigned characters. 16.0 is
what the `tokenizers` wheel 0.23 knows; raise it only together with tests/golden/gpt2_ids.json.
"""
import sys

import unicodedata2

COLUMNS = 110


def members(categories):
    return [c for c in range(0x110000) if unicodedata2.category(chr(c)).startswith(categories)]


def ranges(categories):
    found = []
    for code_point in members(categories):
        if found and found[-1][1] == code_point - 1:
            found[-1][1] = code_point
        else:
            found.append([code_point, code_point])
    return found


def rows(categories):
    """Code points at one distance, 1 or 2: capital and small letters often take turns."""
    found = []
    for code_point in members(categories):
        last = found[-1] if found else None
        step = code_point - last[1] if last else 0
        if last and step <= 2 and (last[0] == last[1] or last[2] == step):
            last[1:] = [code_point, step]
        else:
            found.append([code_point, code_point, 1])
    return found


def array(kind, name, items):
    lines, line = [], "   "
    for values in items:
        item = " {" + ", ".join(map(hex, values[:2])) + "".join(f", {step}" for step in values[2:]) + "},"
        if len(line) + len(item) > COLUMNS:
            lines.append(line)
            line = "   "
        line += item
    lines.append(line)
    return f"inline constexpr {kind} {name}[] = {{\n" + "\n".join(lines) + "\n};\n"


def header(what, includes, definition, arrays):
    sys.stdout.write(f"""// {what} of Unicode {unicodedata2.unidata_version}, as ascending inclusive ranges.
// Written by make_unicode_ranges.py, which says why the version is fixed. Not for editing.
#pragma once

{includes}namespace ringtron {{

{definition}// clang-format off
{arrays}// clang-format on

}}  // namespace ringtron
""")


def main():
    if sys.argv[1:] == ["cases"]:
        header("Code points of the categories M*, Lu with Lt, and Ll", '#include "ringtron/tokenizer/unicode_ranges.h"\n\n',
               "// Every step-th code point from first to last.\nstruct CodePointRow {\n  char32_t first, last, step;\n};\n\n",
               array("CodePointRange", "kMarkRanges", ranges(("M",))) + "\n" +
               array("CodePointRow", "kUpperRows", rows(("Lu", "Lt"))) + "\n" + array("CodePointRow", "kLowerRows", rows(("Ll",))))
    else:
        header("Code points of the categories L* and N*", "", "struct CodePointRange {\n  char32_t first, last;\n};\n\n",
               array("CodePointRange", "kLetterRanges", ranges(("L",))) + "\n" + array("CodePointRange", "kNumberRanges", ranges(("N",))))


main()
