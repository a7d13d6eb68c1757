#!/usr/bin/env python3
"""Reports of real and made-up logs: what is read, what is refused, and, where a Chromium is installed, whether the page draws all of
it without an error and without a label over another.

  report.py BIN_FOLDER [CASE...]
"""
import json
import math
import pathlib
import random
import re
import shutil
import subprocess

from cases import Cases

cases = Cases()
case = cases.case
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Counts what was drawn and finds labels of one picture that touch each other.
PROBE = """<script>
window.addEventListener('load', () => {
  const overlaps = [];
  for (const picture of document.querySelectorAll('svg.plot')) {
    if (SHIFT) picture.querySelectorAll('text')[1].setAttribute('y', picture.querySelectorAll('text')[0].getAttribute('y'));
    const texts = [...picture.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
    const frame = picture.getBoundingClientRect();
    texts.forEach(([a, p], i) => {
      if (p.left < frame.left - 1 || p.right > frame.right + 1 || p.bottom > frame.bottom + 1) overlaps.push(a + ' leaves its picture');
      texts.slice(i + 1).forEach(([b, q]) => {
        if (p.left < q.right && q.left < p.right && p.top < q.bottom - 2 && q.top < p.bottom - 2) overlaps.push(a + ' over ' + b);
      });
    });
  }
  // As a hand would: values under the pointer, a stretch chosen by dragging, all other axes.
  Element.prototype.setPointerCapture = () => {};
  const plot = document.querySelector('svg.plot'), box = plot.getBoundingClientRect();
  const hand = (kind, part) => plot.dispatchEvent(new PointerEvent(
      kind, {clientX: box.left + part * box.width, clientY: box.top + 100, pointerId: 1, pointerType: 'mouse', bubbles: true}));
  hand('pointermove', 0.5);
  const tip = document.querySelector('.tip').innerText, tipBox = document.querySelector('.tip').getBoundingClientRect();
  const tipIsInside = tipBox.top >= box.top && tipBox.bottom <= box.bottom + 40 && tipBox.left >= box.left - 20 && tipBox.right <= box.right + 20;
  const whole = view.charts[0].range;
  hand('pointerdown', 0.4); hand('pointermove', 0.6); hand('pointerup', 0.6);
  const part = view.charts[0].range, button = document.getElementById('whole'), offers = !button.hidden;
  button.click();
  const again = view.charts[0].range, ends = [];
  const axis = document.querySelector('select'), log = document.querySelector('input[type=checkbox]');
  for (const option of axis.options) { axis.value = option.value; axis.dispatchEvent(new Event('change')); ends.push(view.charts[0].range[1]); }
  log.click();
  const hands = {tip, tipIsInside, offers, share: (part[1] - part[0]) / (whole[1] - whole[0]), again: again[1] === whole[1], ends, isLog: view.charts[0].isLog};
  const found = {hands,
    charts: document.querySelectorAll('svg.plot').length, errors, overlaps,
    curves: document.querySelectorAll('svg.plot g > path').length, rows: document.querySelectorAll('table tr').length,
    wide: document.documentElement.scrollWidth > window.innerWidth, text: document.body.innerText.length,
  };
  const pre = document.createElement('pre');
  pre.textContent = 'FOUND' + JSON.stringify(found) + 'END';
  document.body.appendChild(pre);
});
</script>"""
FIRST = "<script>const errors = []; window.addEventListener('error', e => errors.push(e.message));</script>"


class Bench:
    def __init__(self, binaries, folder):
        self.binaries, self.folder = binaries, folder

    def run(self, program, *arguments):
        done = subprocess.run([str(self.binaries / program), *map(str, arguments)], capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout + done.stderr

    def report(self, *arguments):
        """The page that a report of `arguments` makes, and what it said."""
        page = self.folder / "page.html"
        code, said = self.run("report", *arguments, "-o", page)
        assert code == 0, f"exit code {code}: {said}"
        return page.read_text(), said

    def train(self, *flags):
        code, said = self.run("pretrain_gpt", "--num-layers", 1, "--hidden-size", 16, "--num-attention-heads", 2, "--seq-length", 16,
                              "--max-position-embeddings", 16, "--micro-batch-size", 2, "--global-batch-size", 2, "--lr", 1e-2,
                              "--mock-data", "--tokenizer-type", "NullTokenizer", "--vocab-size", 50, "--log-interval", 1, *flags)
        assert code == 0, f"exit code {code}: {said}"
        return said


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def made_up(lines, seed, with_parts=True):
    """Lines of JSON of a run with all that a report can draw: evaluations, skipped steps, a spike, a resume."""
    dice, out = random.Random(seed), []
    options = {"seq_length": "4096", "lr": str(seed * 1e-4), "hidden_size": "1024"}
    start = {"kind": "start", "iteration": 0, "train_iterations": lines, "world_size": 4, "device": "NVIDIA H200", "peak_tflops": 989,
             "options": options}
    out.append(start)
    for i in range(1, lines + 1):
        loss = 2 + 8 * math.exp(-4 * i / lines) + dice.gauss(0, 0.03) + (5 if i == lines // 2 else 0)
        line = {"kind": "train", "time": f"2026-11-30 10:00:{i % 60:02}", "iteration": i, "train_iterations": lines, "consumed_samples": 8 * i,
                "milliseconds_per_iteration": 200 + dice.gauss(0, 2), "tflops_per_gpu": 400 + dice.gauss(0, 4), "learning_rate": 1e-4,
                "global_batch_size": 8, "lm loss": None if i == lines // 3 else loss, "loss_scale": 2.0 ** (16 - i * 3 // lines),
                "grad_norm": 1 + abs(dice.gauss(0, 1)), "skipped_iterations": int(i % 50 == 0), "nan_iterations": int(i == lines // 3),
                "memory_max_allocated_bytes": 2 ** 36, "attention_area_max_over_mean": 1.1}
        if with_parts:
            line["milliseconds_of_ranks"] = {"forward-backward": [150, 151, 152, 160], "optimizer": [10] * 4, "optimizer-inner-step": [8] * 4}
        out.append(line)
        if i % (lines // 5) == 0:
            out.append({"kind": "evaluation", "on": "validation", "set": "web", "iteration": i, "lm loss": loss + 0.1})
            out.append({"kind": "save", "time": "2026-11-30 10:00:00", "iteration": i, "seconds": 2.5, "bytes": 5e9})
        if i == lines * 4 // 5:
            out.append({**start, "iteration": lines * 3 // 5})
            out += [line for line in out if lines * 3 // 5 < line.get("iteration", 0) <= i and line["kind"] == "train"]
    return "".join(json.dumps(line) + "\n" for line in out)


@case
def a_run_that_was_resumed(b):
    save = b.folder / "run"
    flags = ["--save", save, "--load", save, "--log-jsonl", save / "log.jsonl", "--eval-interval", 4, "--eval-iters", 1,
             "--timing-log-level", 1, "--log-throughput"]
    flags += ["--train-iters", 9, "--save-interval", 4]
    said = b.train(*flags, "--exit-interval", 8) + b.train(*flags, "--ckpt-step", 4)
    page, told = b.report(save)
    run = data_of(page)["runs"][0]
    assert "run: 9 log lines" in told and "1 starts after an end" in told, told
    assert run["name"] == "run" and run["series"]["lm loss"]["x"] == list(range(1, 10)), run["series"]["lm loss"]
    assert run["marks"]["seams"] == [{"iteration": 4, "repeated": 4}], run["marks"]
    assert [t["kind"] for t in run["transfers"]] == ["save", "save", "load", "save", "save"], run["transfers"]
    assert set(run["evaluations"]) == {"validation", "final validation", "test"}, run["evaluations"]
    assert {part["name"] for part in run["parts"]} >= {"forward-backward", "optimizer"} and run["parts"][0]["ranks"]
    (b.folder / "printed.log").write_text(said)
    printed = data_of(b.report(b.folder / "printed.log")[0])["runs"][0]
    assert printed["series"]["lm loss"]["x"] == list(range(1, 10)), "the printed lines tell another run than the JSON"
    for ours, theirs in zip(printed["series"]["lm loss"]["y"], run["series"]["lm loss"]["y"]):
        assert abs(ours - theirs) < 1e-5 * theirs, (ours, theirs)
    assert printed["marks"]["seams"] == run["marks"]["seams"] and len(printed["transfers"]) == 5, printed["marks"]
    differ = [o["name"] for o in data_of(b.report(save, b.folder / "printed.log")[0])["options"] if o["differ"]]
    assert differ == [], differ


@case
def bad_input(b):
    (b.folder / "empty.jsonl").write_text("")
    (b.folder / "text.log").write_text("no log at all\n")
    (b.folder / "cut.jsonl").write_text(made_up(100, 1)[:-40])
    for given, wanted in (("empty.jsonl", "found none in 0 lines"), ("text.log", "found none in 1 lines"), ("absent", "no such file"),
                          (".", None)):
        code, said = b.run("report", b.folder / given, "-o", b.folder / "page.html")
        assert (code != 0 and wanted in said) if wanted else code == 0, f"{given}: exit code {code}: {said}"
    page, told = b.report(b.folder / "cut.jsonl")
    assert "1 lines could not be read" in told and "could not be read" in data_of(page)["runs"][0]["notes"][-1], told
    before = (b.folder / "cut.jsonl").read_text()
    code, said = b.run("report", b.folder / "cut.jsonl", "-o", b.folder / "cut.jsonl")
    assert code != 0 and "is the log itself" in said and (b.folder / "cut.jsonl").read_text() == before, said


def browse(b, page, window, shift=False):
    """What a browser has drawn of the page, and beside it a picture of it."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return None
    probed = b.folder / "probed.html"
    probe = PROBE.replace("SHIFT", "true" if shift else "false")
    probed.write_text(page.replace("<body>", "<body>" + FIRST).replace("</body>", probe + "</body>"))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={b.folder / 'profile'}",
               f"--window-size={window}", "--virtual-time-budget=3000"]
    dom = subprocess.run([*command, "--dump-dom", probed.as_uri()], capture_output=True, text=True, timeout=120).stdout
    found = re.search(r"FOUND(.*?)END", dom.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&").split("<pre>")[-1], re.S)
    assert found, f"the browser has not drawn the page: {dom[-500:]}"
    subprocess.run([*command, f"--screenshot={b.folder / 'page.png'}", (b.folder / "page.html").as_uri() + "#dark"], capture_output=True,
                   timeout=120)
    assert (b.folder / "page.png").stat().st_size > 20_000, "an empty picture"
    return json.loads(found[1])


@case
def looked_at_in_a_browser(b):
    (b.folder / "one.jsonl").write_text(made_up(4000, 1))
    (b.folder / "two.jsonl").write_text(made_up(500, 2, with_parts=False))
    one, two = b.folder / "one.jsonl", b.folder / "two.jsonl"
    for logs, window, charts in (([one], "1280,1000", 10), ([one, two], "1280,1000", 10), ([two], "420,900", 9)):
        page, _ = b.report(*logs)
        assert len(page) < 2_000_000, len(page)
        found = browse(b, page, window)
        if found is None:
            print("skipped: no Chromium here, so that no page was looked at in a browser")
            return
        assert not found["errors"], found["errors"]
        assert not found["overlaps"], found["overlaps"]
        assert found["charts"] == charts and found["curves"] >= charts * len(logs), found
        hands = found["hands"]
        assert re.match(r"iteration [\d,]+ · [\d.]+[KM]? tokens · [\d.]+ (s|min|h)\s+training", hands["tip"]), hands["tip"]
        assert hands["tipIsInside"] and hands["offers"] and 0.15 < hands["share"] < 0.3 and hands["again"] and hands["isLog"], hands
        lines = 4000 if one in logs else 500
        assert hands["ends"][:3] == [lines, 8 * lines, 8 * 4096 * lines] and 0 < hands["ends"][3] < 1, hands["ends"]
        assert found["rows"] > 3 and not found["wide"] and found["text"] > 500, found
    (b.folder / "short.jsonl").write_text("".join(made_up(500, 3).splitlines(True)[:2]))
    (b.folder / "evaluations.jsonl").write_text('{"kind":"evaluation","on":"test","iteration":7,"lm loss":3.5}\n')
    for log, charts in (("short.jsonl", 9), ("evaluations.jsonl", 1)):
        found = browse(b, b.report(b.folder / log)[0], "1280,1000")
        assert not found["errors"] and not found["overlaps"] and found["charts"] == charts, (log, found)
    assert browse(b, page, window, shift=True)["overlaps"], "labels that lie over each other are not found"


if __name__ == "__main__":
    cases.main(Bench)
