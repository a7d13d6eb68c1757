#!/usr/bin/env python3
"""verify_cp on real processes: right layouts pass, every injected fault is found and a parameter named, bad lines end
with 2.

  verify_cp.py BIN_FOLDER [NAME...]
"""
import pathlib
import re
import subprocess
import sys

MODEL = ["--num-layers", "4", "--hidden-size", "256", "--num-attention-heads", "8", "--seq-length", "1024",
         "--max-position-embeddings", "1024", "--micro-batch-size", "1", "--global-batch-size", "8", "--train-iters", "100",
         "--lr", "1e-4", "--bf16", "--data-path", "no_such_corpus", "--vocab-file", "none.json", "--merge-file", "none.txt"]
LLAMA = ["--normalization", "RMSNorm", "--swiglu", "--ffn-hidden-size", "512", "--position-embedding-type", "rope",
         "--disable-bias-linear", "--untie-embeddings-and-output-weights"]
DOCUMENTS = ["--reset-attention-mask", "--reset-position-ids", "--eod-mask-loss"]
CP2, CP4 = ["--context-parallel-size", "2"], ["--context-parallel-size", "4"]
RECOMPUTE = ["--recompute-granularity", "full", "--recompute-method", "uniform", "--recompute-num-layers", "4"]
PP2 = ["--pipeline-model-parallel-size", "2"]
TP2 = ["--tensor-model-parallel-size", "2", "--sequence-parallel"]

RIGHT = {
    "p2p": CP4 + LLAMA,
    "all_gather": CP2 + TP2 + ["--cp-comm-type", "all_gather"],
    "a2a": CP4 + LLAMA + ["--cp-comm-type", "a2a", "--num-attention-heads", "6", "--kv-channels", "32",
                          "--group-query-attention", "--num-query-groups", "3"],
    "a2a_in_parts": CP2 + LLAMA + ["--cp-comm-type", "a2a"],  # four heads a rank: made small two, in two parts
    "a2a_p2p": CP4 + ["--cp-comm-type", "a2a+p2p", "--hierarchical-context-parallel-sizes", "2", "2"],
    "documents": CP2 + LLAMA + DOCUMENTS + ["--cp-layout", "balanced", "--cp-comm-type", "p2p", "all_gather", "a2a", "p2p"],
    "window": CP4 + LLAMA + ["--window-size", "200", "0", "--cp-layout", "contiguous", "--softmax-type", "learnable",
                             "--seq-length", "1021"],
    "replicas": CP2 + ["--world-size", "8"],  # 4 replicas, of which 2 are started
    "one_process": [],
    "optimizer_shared_out": CP2 + ["--use-distributed-optimizer"],
    "pipeline": CP2 + LLAMA + PP2 + ["--num-virtual-stages-per-pipeline-rank", "2", "--use-distributed-optimizer"],
    "pipeline_by_letters": PP2 + ["--tensor-model-parallel-size", "2", "--pipeline-model-parallel-layout", "E|tttt||L"],
    "recomputed_attention": CP4 + LLAMA + ["--recompute-activations", "--cp-keep-kv"],
    "recomputed_layers": CP2 + TP2 + DOCUMENTS + RECOMPUTE + ["--cp-comm-type", "all_gather", "p2p", "a2a", "p2p"],
    "recomputed_from_kept": CP4 + DOCUMENTS + RECOMPUTE + ["--cp-keep-kv", "--cp-comm-type", "a2a+p2p",
                                                          "--hierarchical-context-parallel-sizes", "2", "2"],
}
# Which transport meets which fault; each fault and each transport at least once.
WRONG = {
    "swap-chunks": CP2,
    "drop-merge": CP4 + LLAMA,
    "skip-exchange": CP2 + ["--cp-comm-type", "a2a"],
    "double-count": CP2 + ["--cp-comm-type", "all_gather"] + DOCUMENTS,
    "wrong-kept": CP2 + LLAMA + RECOMPUTE + ["--cp-keep-kv"],
}
BAD = {
    "no_such_fault": (CP2 + ["--inject", "nonsense"], "--inject: expected one of swap-chunks"),
    "nothing_to_inject": (["--inject", "drop-merge"], "--inject: expected --context-parallel-size above 1"),
    "nothing_kept": (CP2 + ["--recompute-activations", "--inject", "wrong-kept"], "expected --cp-keep-kv"),
    "wrong_world": (CP4 + ["--world-size", "6"], r"world size \(6\) is not divisible"),
    "unknown_flag": (["--no-such-flag"], "--no-such-flag: unknown flag"),
}


def run(binaries, flags):
    result = subprocess.run([str(binaries / "verify_cp"), *MODEL, *flags], capture_output=True, text=True, timeout=300)
    return result.returncode, result.stdout + result.stderr


def demand(condition, sentence, text):
    if not condition:
        raise AssertionError(f"{sentence}\n{text}")


def check_right(binaries, flags):
    code, text = run(binaries, flags)
    demand(code == 0, f"expected exit code 0, got {code}", text)
    demand(re.search(r"schedules proven: .* over \d+ ranks?, (1024|1021) positions, \d+ operations\n", text), "no proof of schedules", text)
    demand(re.search(r"first parameter to differ +none\n", text), "no line about the first parameter", text)
    return re.search(r"of a gradient +(\S+)", text)[1]


def check_wrong(binaries, fault, flags):
    code, text = run(binaries, flags + ["--inject", fault])
    demand(code == 1, f"expected exit code 1, got {code}", text)
    found = re.search(r"first parameter to differ +(\S+\.(weight|bias)) at step 1", text)
    demand(found, "no parameter is named", text)
    return found[1]


def check_bad(binaries, flags, pattern):
    code, text = run(binaries, flags)
    demand(code == 2, f"expected exit code 2, got {code}", text)
    demand(re.search(pattern, text), f"no {pattern!r}", text)
    return "refused"


def main():
    binaries, names = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    cases = {name: (check_right, flags) for name, flags in RIGHT.items()}
    cases.update({fault: (check_wrong, fault, flags) for fault, flags in WRONG.items()})
    cases.update({name: (check_bad, *case) for name, case in BAD.items()})
    failed = 0
    for name in names or cases:
        check, *arguments = cases[name]
        try:
            print(f"{name}: {check(binaries, *arguments)}", flush=True)
        except AssertionError as fault:
            failed += 1
            print(f"{name} FAILED: {fault}", flush=True)
    print(f"{len(names or cases) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
