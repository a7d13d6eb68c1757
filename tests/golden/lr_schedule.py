"""Writes lr_schedule.txt: learning rates and weight decays from the published formulas, independent of the C++ code.

Run from anywhere: python3 lr_schedule.py > lr_schedule.txt
Each line: style wsd_style max min init warmup decay wsd_length wd_start wd_end wd_style wd_length n lr wd
"""
import math


def curve(style, q):
    return {"linear": 1 - q, "cosine": (1 + math.cos(math.pi * q)) / 2,
            "exponential": 2 ** (1 - q) - 1, "minus_sqrt": 1 - q ** 0.5}[style]


def learning_rate(style, wsd, hi, lo, init, w, d, length, n):
    if w > 0 and n <= w:
        return init + (hi - init) * (n / w)
    if style == "constant":
        return hi
    if n > d:
        return lo
    if style == "inverse-square-root":
        return max(lo, hi * math.sqrt((w or 1) / (n or 1)))
    if style == "WSD":
        begin = d - length
        c = 1 if n <= begin else curve(wsd, (n - begin) / length)
    else:
        c = curve(style, (n - w) / (d - w))
    return lo + c * (hi - lo)


def weight_decay(style, a, b, length, n):
    if style == "constant" or n > length:
        return b
    r = n / length
    return a + (b - a) * (r if style == "linear" else (1 - math.cos(math.pi * r)) / 2)


styles = [("constant", "linear"), ("linear", "linear"), ("cosine", "linear"), ("inverse-square-root", "linear")]
styles += [("WSD", s) for s in ("linear", "cosine", "exponential", "minus_sqrt")]
decays = [("constant", 0.1, 0.1), ("linear", 0.01, 0.1), ("cosine", 0.0, 0.2)]
for index, (style, wsd) in enumerate(styles):
    for w, init in ((0, 0.0), (320, 1e-5), (12.5, 0.0)):
        wd_style, a, b = decays[(index + int(w)) % 3]
        for n in (0, 1, 12, 13, 64, 319, 320, 321, 500, 767, 768, 769, 900, 1000, 1023, 1024, 1025, 5000):
            row = (style, wsd, 1e-4, 1e-5, init, w, 1024, 256, a, b, wd_style, 1000, n,
                   learning_rate(style, wsd, 1e-4, 1e-5, init, w, 1024, 256, n),
                   weight_decay(wd_style, a, b, 1000, n))
            print(*row)
