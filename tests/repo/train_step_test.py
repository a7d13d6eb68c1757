#!/usr/bin/env python3
"""The parts of benchmarks/train_step.py that need neither torch nor a program of ours: logs, checkpoints, shapes, agreement, table."""
import json
import math
import pathlib
import struct
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from whole_step.agreement import BOUNDS, compare  # noqa: E402
from whole_step.checkpoint import Checkpoint, peer_name, qkv_rows  # noqa: E402
from whole_step.log import read_log, timed_intervals  # noqa: E402
from whole_step.shape import CASES, Optimizer, Shape, parse_case  # noqa: E402
from whole_step.table import Measured, head  # noqa: E402
from whole_step.tokens import write_corpus  # noqa: E402


def log_line(iteration, milliseconds, loss):
    return (f"[rank 0]  [2026-11-30 00:46:10.834975] iteration        {iteration}/      40 | consumed samples:           20 | elapsed "
            f"time per iteration (ms): {milliseconds} | throughput per GPU (TFLOP/s/GPU): 401.2 | learning rate: 1.000000E-04 | global "
            f"batch size:     4 | lm loss: {loss} | loss scale: 1.0 | grad norm: 0.948 | number of skipped iterations:   0 | number of "
            "nan iterations:   0 |\n")


class Logs(unittest.TestCase):
    def test_every_step(self):
        text = log_line(1, "900.5", "1.161368E+01") + log_line(2, "15.2", "1.080213E+01") + log_line(3, "15.0", "NAN")
        text = "building GPT model ...\n" + text + "validation loss at iteration 3 | lm loss value: 1.0E+00 |\n"
        log = read_log(text)
        self.assertEqual(log.milliseconds, {1: 900.5, 2: 15.2, 3: 15.0})
        self.assertEqual(log.in_order()[:2], [11.61368, 10.80213])
        self.assertTrue(math.isnan(log.losses[3]))
        self.assertEqual(timed_intervals(log, 1, 1), [15.2, 15.0])
        self.assertEqual(log.peak_bytes, 0)

    def test_a_line_out_of_turn_is_not_timed(self):
        log = read_log("".join(log_line(i, f"{10 * i}.0", "1.0E+01") for i in (1, 4, 8, 12)))
        self.assertEqual(timed_intervals(log, 4, 4), [80.0, 120.0])
        self.assertEqual(timed_intervals(log, 5, 4), [120.0])

    def test_peak(self):
        line = "[Rank 0] (after {} iterations) memory (MB) | allocated: 10.00 | max allocated: {} | reserved: 1.00 | max reserved: 99999.00\n"
        self.assertEqual(read_log(line.format(1, "1000.50") + line.format(2, "2048.00")).peak_bytes, 2048 * 2**20)


def write_checkpoint(folder, shards, tensors):
    """`shards`: file -> {name: (shape, floats)}; `tensors`: logical name -> (shape, dim, [(file, stored, offset, length)])."""
    for file, stored in shards.items():
        header, data = {}, b""
        for name, (shape, floats) in stored.items():
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * len(floats)]}
            data += struct.pack(f"<{len(floats)}f", *floats)
        text = json.dumps(header).encode()
        (folder / file).write_bytes(struct.pack("<Q", len(text)) + text + data)
    manifest = {"format": "ringtron-checkpoint", "version": 1, "files": {file: {} for file in shards}, "tensors": {
        name: {"shape": shape, "dim": dim, "dtype": "F32",
               "pieces": [{"file": f, "tensor": t, "offset": o, "length": n} for f, t, o, n in pieces]}
        for name, (shape, dim, pieces) in tensors.items()}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


class Checkpoints(unittest.TestCase):
    def test_pieces_of_two_shards(self):
        down, norm = "decoder.layers.1.mlp.linear_fc2.weight", "decoder.final_layernorm.weight"
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            write_checkpoint(folder, {
                "a": {f"optimizer.main.{down}#dim1[0:1]": ([2, 1], [1, 2]), f"model.{down}": ([2, 3], [0] * 6)},
                "b": {f"optimizer.main.{down}#dim1[1:3]": ([2, 2], [3, 4, 5, 6]), f"model.{norm}": ([2], [7, 8])},
            }, {
                f"optimizer.main.{down}": ([2, 3], 1, [("a", f"optimizer.main.{down}#dim1[0:1]", 0, 1),
                                                       ("b", f"optimizer.main.{down}#dim1[1:3]", 1, 2)]),
                f"model.{down}": ([2, 3], 0, [("a", f"model.{down}", 0, 2)]),
                f"model.{norm}": ([2], 0, [("b", f"model.{norm}", 0, 2)]),
            })
            checkpoint = Checkpoint(folder)
            weights = checkpoint.weights()
            self.assertEqual(weights, {down: f"optimizer.main.{down}", norm: f"model.{norm}"})
            self.assertEqual(checkpoint.shape(weights[down]), (2, 3))
            read = [(dim, offset, kind, shape, struct.unpack(f"<{len(data) // 4}f", data))
                    for dim, offset, kind, shape, data in checkpoint.pieces(weights[down])]
            self.assertEqual(read, [(1, 0, "F32", (2, 1), (1, 2)), (1, 1, "F32", (2, 2), (3, 4, 5, 6))])
            manifest = json.loads((folder / "manifest.json").read_text())
            (folder / "manifest.json").write_text(json.dumps({**manifest, "version": 2}))
            with self.assertRaises(ValueError):
                Checkpoint(folder)

    def test_names(self):
        self.assertEqual(peer_name("decoder.layers.11.self_attention.linear_proj.weight"), "layers.11.projection.weight")
        self.assertEqual(peer_name("output_layer.weight"), "output.weight")
        with self.assertRaises(KeyError):
            peer_name("decoder.layers.0.mlp.linear_fc1.bias")

    def test_rows_of_qkv(self):
        shape = Shape(hidden=8, heads=4, groups=2, vocab=128)  # heads of 2; ours: q0 q1 k0 v0 q2 q3 k1 v1
        ours = [name for name in "q0 q1 k0 v0 q2 q3 k1 v1".split() for _ in range(2)]
        taken = [ours[row] for begin, end in qkv_rows(shape) for row in range(begin, end)]
        self.assertEqual(taken[::2], "q0 q1 q2 q3 k0 k1 v0 v1".split())
        taken = [ours[row] for begin, end in qkv_rows(shape, (0, 3)) for row in range(begin, end)]
        self.assertEqual(taken[::2], "q3 q1 q2 q0 k0 k1 v0 v1".split())


class Shapes(unittest.TestCase):
    def test_cases(self):
        self.assertAlmostEqual(CASES["8k"].parameters / 1e9, 2.295, 3)
        self.assertAlmostEqual(CASES["190m_b4"].parameters / 1e9, 0.19, 2)
        self.assertAlmostEqual(CASES["8k"].step_flops() / 0.2922 / 1e12, 396, delta=1)  # docs/formats/log_line.md
        self.assertEqual(CASES["8k_x4"].step_flops(), 4 * CASES["8k"].step_flops())

    def test_changes(self):
        shape = parse_case("8k,sequence=16384,heads=16")
        self.assertEqual((shape.sequence, shape.heads, shape.groups, shape.head_size), (16384, 16, 16, 256))
        for wrong in ("9k", "8k,layers", "8k,layers=0", "8k,colour=3", "8k,heads=7", "8k,vocab=50303"):
            with self.assertRaises(ValueError, msg=wrong):
                parse_case(wrong)

    def test_flags_exist(self):
        known = set((ROOT / "tests/config/flag_names.golden").read_text().split())
        grouped = parse_case("8k,groups=8")
        given = {word for word in grouped.flags() + Optimizer().flags() if str(word).startswith("--")}
        self.assertIn("--num-query-groups", given)
        self.assertEqual(given - known, set())

    def test_corpus(self):
        with tempfile.TemporaryDirectory() as folder:
            write_corpus(f"{folder}/x", 3, 5, 128, even=True)
            index, tokens = pathlib.Path(folder, "x.idx").read_bytes(), pathlib.Path(folder, "x.bin").read_bytes()
            self.assertEqual(len(tokens), 3 * 5 * 2)
            self.assertLess(max(struct.unpack("<15H", tokens)), 128)
            self.assertEqual(struct.unpack("<9sQBQQ3i3q4q", index),
                             (b"MMIDIDX\x00\x00", 1, 8, 3, 4, 5, 5, 5, 0, 10, 20, 0, 1, 2, 3))
            write_corpus(f"{folder}/y", 3, 5, 128, even=True)
            self.assertEqual(pathlib.Path(folder, "y.bin").read_bytes(), tokens)


class Agreement(unittest.TestCase):
    OURS = {"at rest": [10.0, 10.1], "training": [10.0, 9.0, 8.0]}
    PEER = {"at rest": [10.001, 10.1], "training": [10.001, 9.001, 8.001], "faults at rest": {"a": [10.1, 10.0]},
            "faults in training": {"b": [10.0, 9.5, 8.7]}}

    def against(self, **changes):
        return compare(self.OURS, {**self.PEER, **changes}, 1024, BOUNDS["cuda"])[1]

    def test_same(self):
        self.assertEqual(self.against(), [])

    def test_others(self):
        self.assertIn("more than rounding", self.against(**{"at rest": [10.1, 10.0]})[0])
        self.assertEqual(self.against(**{"at rest": [10.01, 10.11]}), [])  # all alike
        self.assertIn("more than rounding", self.against(training=[10.0, 9.5, 8.7])[0])
        self.assertIn("more than rounding", self.against(training=[10.0, math.nan, 8.0])[0])
        self.assertEqual(self.against(training=[10.0, 9.2, 8.3]), [])  # less than half of what the fault makes
        self.assertIn("more than rounding", self.against(training=[10.0, 9.3, 8.4])[0])
        self.assertIn("as many steps", self.against(training=[10.0])[0])
        self.assertIn("does not see", self.against(**{"faults at rest": {"a": self.OURS["at rest"]}})[0])
        self.assertIn("does not see", self.against(**{"faults in training": {"b": self.OURS["training"]}})[0])


class Table(unittest.TestCase):
    def test_row(self):
        measured = Measured("8k", 1e14, [200.0, 210.0, 190.0], [250.0, 260.0, 240.0], [200.0], 40 * 2**30, 42 * 2**30, 6.6e14, 6.4e14)
        cells = measured.row().split("|")
        self.assertEqual(len(cells), len(head("torch").split("\n")[0].split("|")))
        self.assertEqual([cell.strip() for cell in cells[1:]], [
            "8k", "200.0 (190.0 to 210.0); 200.0, 200.0", "250.0 (240.0 to 260.0)", "**1.250**", "40.0 / 42.0", "500 / 400", "660 / 640",
            "0.769 / 0.615", ""])


if __name__ == "__main__":
    unittest.main()
