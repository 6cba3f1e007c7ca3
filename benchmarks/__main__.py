"""The speed of the library, table by table.

    python -m benchmarks                     every table, then the report; about 30 minutes
    python -m benchmarks layers [lstm]       one table (and what its own arguments choose)
    python -m benchmarks report              README.md and its picture from the rows on file
    python -m benchmarks gpu                 on an accelerator: is it right, how fast; 6 minutes

Rows go to benchmarks/TABLE.csv; those of other versions of jax stay. Run it from the repository's
root, with nothing else running.
"""

import importlib
import os
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parent))  # the tables import each other by name

TABLES = (
    *("layers", "cells", "liquid", "echo_state"),
    *("memory", "streaming", "compiling", "settings"),
)


def main() -> None:
    arguments = sys.argv[1:]
    if arguments and arguments[0] not in (*TABLES, "report", "gpu"):
        known = ", ".join((*TABLES, "report", "gpu"))
        sys.exit(f"expected one of {known}; got {arguments[0]}\n\n{__doc__}")
    if arguments[:1] == ["gpu"]:
        code = importlib.import_module("gpu").main(arguments[1:])
        sys.stdout.flush()
        os._exit(code)  # a thread that still compiles would hold up the end
    chosen = arguments[:1] or (*TABLES, "report")
    for name in chosen:
        try:
            importlib.import_module(name).main(arguments[1:])
        except SystemExit as missing:  # a table without its peer
            print(missing)


if __name__ == "__main__":
    main()
