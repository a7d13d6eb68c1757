#!/usr/bin/env python3
"""Runs profile_cp on two processes and reads what it writes: JSON, trace, table, and that wrong flags are refused; on one
process, what a terminal shows meanwhile.

  profile_cp.py BIN_FOLDER
"""
import json
import os
import pathlib
import pty
import re
import subprocess
import sys
import tempfile

FLAGS = ["--num-layers", "4", "--hidden-size", "32", "--num-attention-heads", "4", "--group-query-attention",
         "--num-query-groups", "2", "--seq-length", "96", "--max-position-embeddings", "96", "--micro-batch-size", "1",
         "--global-batch-size", "1", "--train-iters", "1", "--lr", "1e-3", "--attention-dropout", "0", "--mock-data",
         "--tokenizer-type", "NullTokenizer", "--vocab-size", "50", "--context-parallel-size", "2",
         "--cp-comm-type", "p2p", "p2p", "a2a", "p2p"]


def run(binaries, *arguments):
    return subprocess.run([str(binaries / "ringrun"), "--nproc-per-node", "2", str(binaries / "profile_cp"), *FLAGS,
                           *map(str, arguments)], capture_output=True, text=True, timeout=240)


def check_json(profile):
    by_name = {t["transport"]: t for t in profile["transports"]}
    assert set(by_name) == {"p2p", "all_gather", "a2a"}, by_name.keys()
    assert by_name["p2p"]["layers"] == "0-1,3" and by_name["a2a"]["layers"] == "2" and by_name["all_gather"]["layers"] == ""
    for transport in profile["transports"]:
        assert transport["planned_bytes"] == transport["counted_bytes"], transport
        times = transport["step_seconds"]
        assert 0 < times["min"] <= times["p50"] <= times["p90"] <= times["p99"] <= times["max"], times
        assert transport["transfer_seconds"] > 0 and transport["exposed_seconds"] >= 0 and transport["hidden_seconds"] >= 0
        assert transport["tflops_per_rank"] > 0 and transport["predicted_seconds"] > 0
    # Closed forms for two ranks in fp32: 48 rows of K and V of two heads of 8, once forward; again and gradients backward.
    key_value = 48 * 2 * (8 + 8) * 4
    assert by_name["p2p"]["planned_bytes"] == [3 * key_value] * 2, by_name["p2p"]
    assert by_name["all_gather"]["planned_bytes"] == [3 * key_value] * 2
    query = 48 * 4 * 8 * 4
    assert by_name["a2a"]["planned_bytes"] == [2 * (2 * query + key_value) // 2] * 2
    assert profile["one_rank"]["rows"] > 48 and profile["one_rank"]["tflops"] > 0


def check_trace(trace):
    events = trace["traceEvents"]
    processes = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert sorted(processes.values()) == ["a2a", "all_gather", "p2p"], processes
    for pid, name in processes.items():
        spans = [e for e in events if e["pid"] == pid and e["ph"] == "X"]
        assert {e["tid"] // 2 for e in spans} == {0, 1}, "both ranks have a track"
        seen = {e["name"] for e in spans}
        assert {"attend", "merge", "forward", "backward"} <= seen, (name, seen)
        exchanges = [e for e in spans if e["name"] == "exchange"]
        assert {e["tid"] % 2 for e in exchanges} == {1}, (name, seen)
        if name == "a2a":  # there and back in each pass, on each of two ranks
            assert sorted(e["cat"] for e in exchanges) == ["backward"] * 4 + ["forward"] * 4, exchanges
        assert ("to heads" in seen) == (name == "a2a"), (name, seen)
        assert all(e["dur"] >= 0 for e in spans)


def check_progress(binaries, folder):
    """A terminal shows each piece of work when it begins, so this does not depend on time."""
    here, terminal = pty.openpty()
    process = subprocess.Popen([str(binaries / "profile_cp"), *FLAGS, "--context-parallel-size", "1", "--repeats", "1",
                                "--transports", "p2p,a2a", "--trace", str(folder / "one.json")],
                               stdout=terminal, stderr=terminal)
    os.close(terminal)
    seen = b""
    try:
        while part := os.read(here, 4096):
            seen += part
    except OSError:  # how a terminal ends
        pass
    os.close(here)
    text = seen.decode()
    assert process.wait(timeout=240) == 0, text
    shown = re.findall(r"profile_cp: ([^(\r\n]*) \(\d+ s\)", text)
    begun = list(dict.fromkeys(re.sub(r", \d+ of \d+ steps", "", text) for text in shown))  # twice, if it takes long
    parts = ["bytes", "forward and backward", "forward", "without its messages", "its messages alone"]
    assert begun == ["speeds of the link and of attention", "one rank alone", *(f"p2p, {part}" for part in parts),
                     *(f"a2a, {part}" for part in parts), "trace of p2p", "trace of a2a"], begun
    assert text.index("processes on") < text.index("sequence 96") < text.index("profile_cp: "), text
    assert "\r\x1b[Kone rank, 96 rows" in text, f"the table does not begin on a line of its own: {text!r}"


def main():
    binaries = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="ringtron_profile_") as folder:
        out, trace = pathlib.Path(folder) / "p.json", pathlib.Path(folder) / "t.json"
        result = run(binaries, "--repeats", 3, "--warmup", 1, "--json", out, f"--trace={trace}")
        assert result.returncode == 0, result.stdout + result.stderr
        for word in ("transport", "vs one rank", "= plan", "auto: "):
            assert word in result.stdout, f"no {word!r} in\n{result.stdout}"
        assert "profile_cp:" not in result.stdout, result.stdout
        check_json(json.loads(out.read_text()))
        check_trace(json.loads(trace.read_text()))

        windows = run(binaries, "--repeats", 1, "--warmup", 0, "--transports", "p2p", "--window-size", "8,0", "--json", out)
        assert windows.returncode == 0, windows.stdout + windows.stderr
        halo = json.loads(out.read_text())["transports"]
        assert len(halo) == 1 and 0 < max(halo[0]["planned_bytes"]) < 48 * 2 * 16 * 4 * 3, halo
        assert halo[0]["planned_bytes"] == halo[0]["counted_bytes"], halo

        documents = run(binaries, "--repeats", 1, "--warmup", 1, "--reset-attention-mask", "--cp-layout", "balanced")
        assert documents.returncode == 0 and "documents" in documents.stdout, documents.stdout + documents.stderr

        check_progress(binaries, pathlib.Path(folder))

        nowhere = pathlib.Path(folder) / "none" / "x.json"
        for wrong in (["--transports", "ring"], ["--transports", ","], ["--repeats", "none"], ["--repeats", "0"],
                      ["--transports", "a2a+p2p"], ["--json", nowhere], ["--trace", nowhere]):
            refused = run(binaries, *wrong)
            said = refused.stdout + refused.stderr
            assert refused.returncode == 2, (wrong, said)
            assert f"{wrong[0]}: expected" in said or f"{' '.join(wrong)}: expected" in said, (wrong, said)
            assert "vs one rank" not in said, "refused after the measurement"

        sizes = ["--mamba-head-dim", "16", "--mamba-num-groups", "2", "--mamba-state-dim", "8"]
        hybrid = run(binaries, "--hybrid-layer-pattern", "M*M-", *sizes, "--cp-comm-type", "p2p", "--repeats", 1, "--transports",
                     "p2p", "--json", out)
        assert hybrid.returncode == 0, hybrid.stdout + hybrid.stderr
        assert json.loads(out.read_text())["transports"][0]["layers"] == "1", "layers without attention are not of a transport"
        mamba = run(binaries, "--hybrid-layer-pattern", "MMMM", *sizes, "--cp-comm-type", "p2p")
        assert mamba.returncode == 2 and "There is nothing to time" in mamba.stderr + mamba.stdout, mamba.stdout + mamba.stderr

        alone = subprocess.run([str(binaries / "profile_cp"), *FLAGS], capture_output=True, text=True, timeout=240)
        assert alone.returncode == 2 and "ringrun --nproc-per-node 2 PROGRAM" in alone.stderr, alone.stdout + alone.stderr
    print("profile_cp: passed")


main()
