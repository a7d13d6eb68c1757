#!/usr/bin/env python3
"""Each of the check scripts passes a small sound repository and names every fault that is put into it."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"

SOUND = {
    "CMakeLists.txt": "set(RINGTRON_FOLDERS base top)",
    "src/ringtron/base/CMakeLists.txt": "ringtron_library(base PUBLIC a.h SRCS a.cpp)",
    "src/ringtron/base/a.h": '#include "ringtron/base/inner.h"\n',
    "src/ringtron/base/inner.h": "",
    "src/ringtron/base/a.cpp": '#include "ringtron/base/a.h"\n',
    "src/ringtron/top/CMakeLists.txt":
        "if(X)\n  set(more gpu.cpp)\nelse()\n  set(more cpu.cpp)\nendif()\nringtron_library(top SRCS b.cpp ${more} DEPS base)",
    "src/ringtron/top/b.cpp": '#include "ringtron/base/a.h"\n',
    "src/ringtron/top/gpu.cpp": "",
    "src/ringtron/top/cpu.cpp": "",
    "tests/base/CMakeLists.txt": "ringtron_tests(base FILES a_test.cpp)",
    "tests/base/a_test.cpp": "",
    "apps/CMakeLists.txt": "ringtron_program(x SRCS x.cpp)",
    "apps/x.cpp": "",
    "README.md": "# One\nSee [here](docs/page.md#two-words) and `src/ringtron/base/{a.h,a.cpp}`.\n```bash run\nls\n```\n",
    "docs/page.md": "## Two `words`\n[back](../README.md), `tests/*/a_test.cpp`, `build/x`, [web](https://example.org)\n",
    "ARCHITECTURE.md": "## Where is ...?\n| what | where |\n|---|---|\n| a | `base/a.h` |\n| b | `src/ringtron/top` |\n",
}


class Scripts(unittest.TestCase):
    def run_on(self, script, changes):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**SOUND, **changes}.items():
                path = pathlib.Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            done = subprocess.run([sys.executable, SCRIPTS / script, folder], capture_output=True, text=True)
            return done.returncode, done.stdout + done.stderr

    def expect_fault(self, script, changes, sentence):
        code, output = self.run_on(script, changes)
        self.assertEqual(code, 1, output)
        self.assertIn(sentence, output)

    def test_sound_repository_passes(self):
        for script in ("check_layers.py", "check_sizes.py", "check_lists.py", "check_docs.py"):
            code, output = self.run_on(script, {})
            self.assertEqual(code, 0, output)
            self.assertIn(" 0 faults", output)

    def test_layers(self):
        self.expect_fault("check_layers.py", {"src/ringtron/base/a.cpp": '#include "ringtron/top/b.h"\n'},
                          "base may include: nothing")
        self.expect_fault("check_layers.py", {"src/ringtron/top/b.cpp": '#include "ringtron/base/inner.h"\n'},
                          "PUBLIC headers of base: a.h")
        self.expect_fault("check_layers.py",
                          {"src/ringtron/base/CMakeLists.txt": "ringtron_library(base PUBLIC a.h SRCS a.cpp DEPS top)"},
                          "depend on each other: base -> top -> base")

    def test_sizes(self):
        self.expect_fault("check_sizes.py", {"src/ringtron/base/a.cpp": "\n" * 401}, "401 lines, at most 400")
        self.expect_fault("check_sizes.py", {"src/ringtron/base/a.cpp": "void f() {\n" + "  g();\n" * 60 + "}\n"},
                          "function of 62 lines")
        self.expect_fault("check_sizes.py", {f"src/ringtron/top/n{i}.cpp": "" for i in range(24)}, "at most 25")

    def test_installed_headers(self):
        script, listing = "check_installed_headers.py", "src/ringtron/installed_headers.txt"
        sound = {"src/ringtron/base/CMakeLists.txt": "ringtron_library(base PUBLIC a.h inner.h SRCS a.cpp)",
                 listing: "# Doors.\nbase/a.h\n# Reached from them.\nbase/inner.h\n"}
        code, output = self.run_on(script, sound)
        self.assertEqual(code, 0, output)
        self.expect_fault(script, {**sound, listing: "base/a.h\n# Reached from them.\n"},
                          "base/inner.h: included by base/a.h, which is installed, and not installed itself")
        self.expect_fault(script, {**sound, "src/ringtron/base/a.h": ""}, "base/inner.h: installed, and no door leads to it")
        self.expect_fault(script, {**sound, "src/ringtron/base/inner.h": "#include <fmt/format.h>\n"}, "includes fmt/format.h")
        self.expect_fault(script, {**sound, "src/ringtron/base/CMakeLists.txt": "ringtron_library(base PUBLIC a.h SRCS a.cpp)"},
                          "base/inner.h: installed, and not PUBLIC")
        self.expect_fault(script, {**sound, listing: "base/none.h\n# Reached from them.\n"}, "base/none.h: no such header")

    def test_lists(self):
        self.expect_fault("check_lists.py", {"src/ringtron/base/lost.cpp": ""}, "src/ringtron/base/lost.cpp: expected")
        self.expect_fault("check_lists.py", {"src/ringtron/base/lost.h": ""}, "src/ringtron/base/lost.h: neither PUBLIC")
        self.expect_fault("check_lists.py", {"tests/base/lost_test.cpp": ""}, "tests/base/lost_test.cpp: expected")
        self.expect_fault("check_lists.py", {"tests/none/lost_test.cpp": ""}, "no CMakeLists.txt at or above it")
        self.expect_fault("check_lists.py", {"CMakeLists.txt": "set(RINGTRON_FOLDERS base)"}, "src/ringtron/top: expected")
        self.expect_fault("check_lists.py", {"apps/CMakeLists.txt": "# x.cpp\n"}, "apps/x.cpp: expected")

    def test_format(self):
        style = {".clang-format": (SCRIPTS.parent / ".clang-format").read_text()}
        code, output = self.run_on("check_format.py", style)
        if code == 77:
            self.skipTest(output)
        self.assertEqual(code, 0, output)
        self.expect_fault("check_format.py", {**style, "src/ringtron/top/k.cu": "int  a;\n"}, "src/ringtron/top/k.cu: not as")

    def test_docs(self):
        self.expect_fault("check_docs.py", {"docs/page.md": "## Two words\n[x](gone.md)\n"}, "page.md:2: link to gone.md")
        self.expect_fault("check_docs.py", {"docs/page.md": "## Others\n"}, "page.md has no such heading")
        self.expect_fault("check_docs.py", {"docs/page.md": "## Two words\n`src/gone.h`\n"}, "`src/gone.h`: no such file")
        self.expect_fault("check_docs.py", {"docs/page.md": "## Two words\n```bash\nls -l\n```\n"}, '"docs/page.md: ls -l"')
        self.expect_fault("check_docs.py", {"docs/page.md": "## Two words\n```console\nls\n```\n"}, "block marked console")
        self.expect_fault("check_docs.py", {"ARCHITECTURE.md": "## Where is ...?\n| a | `base/gone.h` |\n"},
                          "`base/gone.h`: no such file from the root")
        self.expect_fault("check_docs.py", {"ARCHITECTURE.md": "# Parts\n"}, "expected a table")


if __name__ == "__main__":
    unittest.main()
