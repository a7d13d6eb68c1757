"""What was measured of one case, and the table of all."""
import dataclasses
import statistics


def head(peer):
    """`peer`: what the other side is called."""
    return (f"| case | ours, ms | {peer}, ms | speed, ours ÷ {peer} | peak GiB, ours / {peer} | TFLOP/s, ours / {peer} | "
            f"GEMM before / after | share of GEMM, ours / {peer} |\n|---|---|---|---|---|---|---|---|")


@dataclasses.dataclass
class Measured:
    """A-B-A: ours, the peer, ours. Milliseconds a step."""
    case: str
    step_flops: float
    first: list
    peer: list
    second: list
    peak_bytes: int
    peer_peak_bytes: int
    gemm_before: float
    gemm_after: float

    def ours(self):
        return self.first + self.second

    def ratio(self):
        return statistics.median(self.peer) / statistics.median(self.ours())

    def row(self):
        gemm = (self.gemm_before + self.gemm_after) / 2
        rates = [self.step_flops / statistics.median(times) * 1e3 for times in (self.ours(), self.peer)]
        return (f"| {self.case} | {spread(self.ours())}; {statistics.median(self.first):.1f}, "
                f"{statistics.median(self.second):.1f} | {spread(self.peer)} | **{self.ratio():.3f}** | "
                f"{self.peak_bytes / 2**30:.1f} / {self.peer_peak_bytes / 2**30:.1f} | {rates[0] / 1e12:.4g} / {rates[1] / 1e12:.4g} | "
                f"{self.gemm_before / 1e12:.4g} / {self.gemm_after / 1e12:.4g} | {rates[0] / gemm:.3f} / {rates[1] / gemm:.3f} |")


def spread(times):
    return f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})"
