"""What a test of whole programs is made of: cases, each a function that gets a bench of its own, and the main() that runs them."""
import pathlib
import subprocess
import sys
import tempfile


class Cases:
    """@case marks a function as one: cases = Cases(); case = cases.case."""

    def __init__(self):
        self.functions = {}

    def case(self, function):
        self.functions[function.__name__] = function
        return function

    def main(self, bench):
        """PROGRAM BIN_FOLDER [NAME...]: calls each case, or those named, with bench(BIN_FOLDER, a folder of its own)."""
        binaries = pathlib.Path(sys.argv[1]).resolve()
        wanted = sys.argv[2:] or list(self.functions)
        failed = 0
        for name in wanted:
            with tempfile.TemporaryDirectory(prefix=f"ringtron_{pathlib.Path(sys.argv[0]).stem}_") as folder:
                try:
                    self.functions[name](bench(binaries, pathlib.Path(folder)))
                    print(f"passed: {name}", flush=True)
                except (AssertionError, subprocess.TimeoutExpired) as fault:
                    failed += 1
                    print(f"FAILED: {name}: {fault}", flush=True)
        print(f"{len(wanted) - failed} passed, {failed} failed")
        sys.exit(1 if failed else 0)
