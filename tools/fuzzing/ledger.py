"""What a run of a fuzzer saw: outcomes by kind, the slowest case, memory, and every finding with how to repeat it."""

from __future__ import annotations

import gc
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HANGS_AFTER_S = 30.0
SLOW_AFTER_S = 10.0
"""Deflated data sets that inflate to 512 MiB take some seconds; all others a fraction of one."""
GROWS_BY_KB = 64 * 1024
_PAGE_KB = resource.getpagesize() // 1024


class Hangs(BaseException):
    """A case did not end. No `Exception`, so that nothing under test takes it for one of its own."""


class Wrong(Exception):
    """A case ended in a way that it must not; the message says what was expected."""


@dataclass(frozen=True)
class Finding:
    """A case that crashed, hung, grew or broke a promise; `case` is its number under the seed of the run."""

    case: int
    kind: str
    where: str


@dataclass
class Ledger:
    """Counts the cases of one layer under one seed."""

    layer: str
    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    rss_before_kb: int = 0
    rss_after_kb: int = 0
    peak_growth: tuple[int, int] = (0, -1)
    started: float = field(default_factory=time.perf_counter)
    ended: float = 0.0
    notes: dict[str, object] = field(default_factory=dict)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """A whole run; an alarm (SIGALRM, main thread) ends cases that hang."""
        previous = signal.signal(signal.SIGALRM, _hangs)
        gc.collect()
        self.rss_before_kb, self.started = rss_kb(), time.perf_counter()
        try:
            yield
        finally:
            self.ended = time.perf_counter()
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
            gc.collect()
            self.rss_after_kb = rss_kb()

    @contextmanager
    def case(self, number: int) -> Iterator[None]:
        """One case: whatever it raises is a finding."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        signal.setitimer(signal.ITIMER_REAL, HANGS_AFTER_S)
        begun = time.perf_counter()
        try:
            yield
        except Hangs as error:
            self.find(number, "hang", _where(error))
        except Wrong as error:
            self.find(number, "wrong", str(error))
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            self.find(number, f"crash {type(error).__name__}: {str(error)[:80]}", _where(error))
        took = time.perf_counter() - begun
        if took > self.slowest[0]:
            self.slowest = (took, number)
        if took > SLOW_AFTER_S:
            self.find(number, "slow", f"{took:.1f} s")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
        if grown > self.peak_growth[0]:
            self.peak_growth = (grown, number)

    def find(self, case: int, kind: str, where: str) -> None:
        self.outcomes[f"FINDING {kind.split(':')[0]}"] += 1
        if sum(f.where == where for f in self.findings) < 3:  # the same place is told a few times
            self.findings.append(Finding(case, kind, where))

    def report(self) -> str:
        cases = sum(self.outcomes.values())
        seconds = (self.ended or time.perf_counter()) - self.started
        lines = [
            f"{self.layer}: seed {self.seed}, {cases} outcomes in {seconds:.1f} s ({cases / seconds:.0f}/s)",
            f"  slowest case {self.slowest[1]}: {self.slowest[0] * 1000:.1f} ms",
            f"  resident memory {self.rss_before_kb // 1024} MB before, {self.rss_after_kb // 1024} MB after;"
            f" highest peak of one case +{self.peak_growth[0] // 1024} MB (case {self.peak_growth[1]})",
            *(f"  {name}: {value}" for name, value in self.notes.items()),
            *(f"  {count:>8} {outcome}" for outcome, count in self.outcomes.most_common()),
            *(f"  FINDING case {f.case}: {f.kind} at {f.where}" for f in self.findings),
        ]
        return "\n".join(lines)


def rss_kb(pid: int | str = "self") -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_KB


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/gateway/" in f.filename or "/inference/" in f.filename] or frames
    last = frames[-1]
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
    return place if ours[-1] is last else f"{place} ({Path(last.filename).name}:{last.lineno})"


def _hangs(*_: object) -> None:
    raise Hangs
