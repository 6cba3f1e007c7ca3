"""Run a benchmark: python -m benchmarks NAME [options], from the repository's root."""

import argparse
import os
import sys
import threading

from .call import found, listed, one_of


def main() -> int:
    benchmarks = found()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        usage="%(prog)s NAME [options]",
        description="NAME --help says what a benchmark measures, its options and its rows.",
        epilog=listed(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", type=one_of(benchmarks), help="one of those below")
    name = parser.parse_args(sys.argv[1:2] or ["--help"]).name
    return benchmarks[name].module(name).main(sys.argv[2:]) or 0


if __name__ == "__main__":
    code = main()
    if threading.active_count() > 1:  # a thread that still compiles would hold up the end
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
