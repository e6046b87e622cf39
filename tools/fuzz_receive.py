"""Fuzz the receive path: encoded data sets, DIMSE messages, and PDUs over a socket. Seeded; every case can be repeated.

    PYTHONPATH=. .venv/bin/python tools/fuzz_receive.py --layer data-sets --seed 1 --cases 100000
    PYTHONPATH=. .venv/bin/python tools/fuzz_receive.py --layer data-sets --seed 1 --only 4711

Prints what came of the cases, how fast, the slowest, and the memory; ends with 1 when there are findings.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

_LAYERS = {
    "data-sets": "tools.fuzzing.data_set_layer",
    "messages": "tools.fuzzing.message_layer",
    "connections": "tools.fuzzing.connection_layer",
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", choices=sorted(_LAYERS), default="data-sets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seconds", type=float, help="begin no case after so long")
    parser.add_argument("--processes", type=int, default=0, help="receiving processes of the connections layer")
    parser.add_argument("--only", type=int, help="repeat the case of this number")
    given = parser.parse_args(arguments)
    numbers = range(given.first, given.first + given.cases) if given.only is None else [given.only]
    options = {"processes": given.processes} if given.layer == "connections" else {}
    ledger = importlib.import_module(_LAYERS[given.layer]).run(given.seed, _until(given.seconds, numbers), **options)
    sys.stdout.write(ledger.report() + "\n")
    return 1 if ledger.findings else 0


def _until(seconds: float | None, numbers: Iterable[int]) -> Iterator[int]:
    begun = time.monotonic()
    for number in numbers:
        if seconds is not None and time.monotonic() - begun > seconds:
            return
        yield number


if __name__ == "__main__":
    sys.exit(main())
