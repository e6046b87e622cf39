"""How fast instances are received, against DCMTK, Orthanc and plain pynetdicom, in one interleaved run.

    python bench/receive.py [--quick] [--repetitions 5] [--instances 400] [--out DIR] [--fresh-disk GB]
    python bench/receive.py --ethernet
    python bench/receive.py --lossless 50000 [--associations 8]

Prints medians and, for each repetition paired with the peer's, ratios. With --out it draws the curve of instances per
second, response times and CPU over 1 to 16 associations. Times jump on a shared machine; ratios and CPU do not.
--ethernet sends with the stock storescu over a link of MTU 1500 from a network namespace of its own (needs root).
--lossless sends so many instances and counts what is there afterwards; it fails where one is missing.
--fresh-disk lets all of them store on a new ext4 (needs root): on one where files were deleted within the last
minutes, making a file takes several times as long as everything else. Needs Debian's dcmtk and orthanc.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from receiving.blast import ENHANCED_MR, Sent, blast, open_association, release
from receiving.fresh_disk import fresh_disk
from receiving.images import Images, enhanced
from receiving.lossless import send_and_count
from receiving.namespaces import MTU, Link, ethernet
from receiving.peers import CONTENDERS, Peer, running

NODELAY, STOCK = "nd dcmtk +B 128k", ("dcmtk stock", "orthanc stock")
OURS, DURABLE = "ours association", "ours instance"
STALLING = (NODELAY, *STOCK, OURS, DURABLE)
LOOPBACK = Link((), "127.0.0.1")
STALLED_SHARE = 10
"""Stock DCMTK and Orthanc answer each C-STORE 40 ms late: they are sent a tenth of the instances."""


@dataclass(frozen=True)
class Run:
    """One contender, one way of sending, one repetition."""

    per_second: float
    p50_ms: float
    p99_ms: float
    answering_ms: float
    total_ms: float


Results = dict[tuple[str, str], list[Run]]


def main() -> None:
    options = _options()
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(prefix="timepoint-bench-", dir=options.work) as work, ExitStack() as stack:
        if options.fresh_disk:
            work = str(stack.enter_context(fresh_disk(Path(work), options.fresh_disk)))
        if options.lossless:
            sys.exit(_lossless(Path(work), options))
        names = STALLING if options.ethernet else tuple(CONTENDERS)
        peers = {n: stack.enter_context(running(n, Path(work) / n.replace(" ", "-"))) for n in names}
        images, results = Images(), Results()
        for peer in peers.values():  # what a receiver loads at its first association is not measured
            blast(peer.port, _groups(images, 16, 4))
            peer.settle()
        if options.ethernet:
            _ethernet(peers, images, options, Path(work), results, stack.enter_context(ethernet()))
            return
        ways = ["blast x1", "blast x4", "blast x8", "storescu"]
        for repetition in range(options.repetitions):
            for way in ways:
                for peer in _rotated(list(peers.values()), repetition):
                    _measure(peer, way, images, options.instances, Path(work), results)
        _print_table(results, ways)
        _print_goals(results)
        _print_idle(peers, 3.0 if options.quick else 10.0)
        _print_enhanced(peers, 2 if options.quick else 4)
        if options.out:
            counts = [1, 4] if options.quick else [1, 2, 4, 8, 16]
            _curve(peers, images, options, counts)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one repetition, few instances")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--instances", type=int, default=400)
    parser.add_argument("--ethernet", action="store_true", help="stock storescu over a link of MTU 1500 (root)")
    parser.add_argument("--lossless", type=int, metavar="N", help="send so many and count what is there afterwards")
    parser.add_argument("--associations", type=int, default=8, help="of --lossless")
    parser.add_argument("--fresh-disk", type=int, metavar="GB", help="store on a new ext4 of this size (root)")
    parser.add_argument("--out", type=Path, help="folder for the curve")
    parser.add_argument("--work", type=Path, default="/var/tmp", help="where what is received lies until the end")
    options = parser.parse_args()
    if options.quick:
        options.repetitions, options.instances = 1, 40
    return options


def _lossless(work: Path, options: argparse.Namespace) -> int:
    """Exit status: 0 where everything that was acknowledged is in the rows and in the files."""
    with running(DURABLE, work / "ours") as peer:
        count = send_and_count(peer, work / "ours", options.lossless, options.associations)
    print(f"{options.lossless} instances of 9 kB over {options.associations} associations ({DURABLE})")
    missing, damaged, left = count.missing_rows, count.damaged_files, count.left_in_inbox
    print(f"acknowledged {count.acknowledged}, rows {count.rows}, lost {count.lost}:", end=" ")
    print(f"{missing} without a row, {damaged} without their file or with another, {left} left in the inbox")
    rate = count.acknowledged / count.seconds
    print(f"sent in {count.seconds:.0f} s ({rate:.0f}/s), indexed {count.settled_after_s:.0f} s later")
    first, most, last = count.rss_mb[0], max(count.rss_mb), count.rss_mb[-1]
    print(f"resident MB of all processes: {first:.0f} at the start, {most:.0f} at most, {last:.0f} at the end")
    print(f"load after: {os.getloadavg()[0]:.1f}")
    return int(count.lost > 0 or count.acknowledged < options.lossless // options.associations * options.associations)


def _ethernet(
    peers: dict[str, Peer], images: Images, options: argparse.Namespace, work: Path, results: Results, link: Link
) -> None:
    for repetition in range(options.repetitions):
        for peer in _rotated(list(peers.values()), repetition):
            _measure(peer, "storescu", images, options.instances, work, results, link)
    print(f"stock storescu, MTU {MTU} between network namespaces")
    for name in peers:
        print(f"{name:20} {_median(results, name, 'storescu', 'per_second'):8.0f} inst/s")
    _print_goals(results, [goal for goal in GOALS if goal[3] == "storescu"])


def _rotated(peers: Sequence[Peer], by: int) -> Sequence[Peer]:
    by %= len(peers)
    return [*peers[by:], *peers[:by]]


def _measure(
    peer: Peer, way: str, images: Images, instances: int, work: Path, results: Results, link: Link = LOOPBACK
) -> None:
    stalled = peer.name in STOCK
    if stalled and way in ("blast x4", "blast x8"):
        return
    count = max(instances // STALLED_SHARE, 8) if stalled else instances
    before, answering_before = peer.cpu_s(), peer.answering_cpu_s()
    if way == "storescu":
        sent = _storescu(peer, images, count, work, link)
    else:
        sent = blast(peer.port, _groups(images, count, int(way.split("x")[1])))
    answering = peer.answering_cpu_s() - answering_before
    peer.settle()
    if sent.failures:
        raise RuntimeError(f"{peer.name} refused {sent.failures} instances")
    each = 1000 / sent.instances
    run = Run(
        sent.per_second, sent.percentile(0.5), sent.percentile(0.99), answering * each, (peer.cpu_s() - before) * each
    )
    results.setdefault((peer.name, way), []).append(run)


def _groups(images: Images, count: int, associations: int) -> list[list[tuple[str, bytes]]]:
    return [images.next_batch(count // associations) for _ in range(associations)]


def _storescu(peer: Peer, images: Images, count: int, work: Path, link: Link) -> Sent:
    """DCMTK's own sender as Debian ships it, with Nagle's algorithm on; it does not tell its response times."""
    folder = work / f"send-{time.monotonic_ns()}"
    files = images.write_batch(folder, count)
    command = [*link.prefix, "/usr/bin/storescu", "-aec", "TIMEPOINT", "-R", link.address, str(peer.port)]
    environment = {k: v for k, v in os.environ.items() if k != "TCP_NODELAY"}
    begin = time.perf_counter()
    done = subprocess.run([*command, *map(str, files)], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"storescu to {peer.name}: {done.stderr.strip()[:200]}")
    seconds = time.perf_counter() - begin
    return Sent(count, seconds, (seconds / count * 1000,), 0)


def _median(results: Results, name: str, way: str, value: str) -> float:
    return statistics.median(getattr(run, value) for run in results[name, way])


def _ratio(results: Results, one: str, other: str, way: str, value: str) -> float:
    pairs = zip(results[one, way], results[other, way], strict=True)
    return statistics.median(getattr(a, value) / getattr(b, value) for a, b in pairs)


def _print_table(results: Results, ways: Sequence[str]) -> None:
    print(f"{'receiver':20} {'sent by':10} {'inst/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'CPU ms':>8} {'+index':>8}")
    for way in ways:
        for name in CONTENDERS:
            if (name, way) in results:
                values = [_median(results, name, way, f.name) for f in Run.__dataclass_fields__.values()]
                rate, p50, p99, answering, total = values
                print(f"{name:20} {way:10} {rate:8.0f} {p50:8.2f} {p99:8.2f} {answering:8.2f} {total:8.2f}")
    print("CPU ms: for each instance up to the responses; +index: with everything that follows them.\n")


GOALS = (
    ("1 CPU, 1 association", OURS, NODELAY, "blast x1", "answering_ms", "<= 1.0"),
    ("1 CPU, 4 associations", OURS, NODELAY, "blast x4", "answering_ms", "<= 1.0"),
    ("2 CPU, 1 association", OURS, "pynetdicom", "blast x1", "answering_ms", "<= 0.08"),
    ("3 inst/s, 1 association", OURS, NODELAY, "blast x1", "per_second", ">= 1.2"),
    ("4 inst/s, 4 associations", OURS, NODELAY, "blast x4", "per_second", ">= 1.0"),
    ("4 inst/s, 8 associations", OURS, NODELAY, "blast x8", "per_second", ">= 1.0"),
    ("5 stock storescu", OURS, "dcmtk stock", "storescu", "per_second", ">= 20"),
    ("5 stock storescu", OURS, "orthanc stock", "storescu", "per_second", ">= 20"),
    ("5 stock storescu", OURS, NODELAY, "storescu", "per_second", ">= 7.5"),
    ("5 the same, durable", DURABLE, "orthanc stock", "storescu", "per_second", ">= 20"),
    ("6 durable, 1 association", DURABLE, "nd orthanc", "blast x1", "per_second", ">= 1.2"),
    ("6 durable, 4 associations", DURABLE, "nd orthanc", "blast x4", "per_second", ">= 4"),
    ("7 p99, 4 associations", OURS, NODELAY, "blast x4", "p99_ms", "<= 1.0"),
)


def _print_goals(results: Results, goals: Sequence[tuple[str, str, str, str, str, str]] = GOALS) -> None:
    print(f"{'goal':26} {'against':20} {'ratio':>8}  wanted")
    for goal, one, other, way, value, wanted in goals:
        print(f"{goal:26} {other:20} {_ratio(results, one, other, way, value):8.2f}  {wanted}  ({one})")
    print()


def _print_idle(peers: dict[str, Peer], seconds: float) -> None:
    """Eight open associations without traffic."""
    print(f"{'8 idle associations':26} {'% of a core':>12}")
    used = {}
    for name in (NODELAY, "pynetdicom", OURS):
        opened = [open_association("127.0.0.1", peers[name].port)[0] for _ in range(8)]
        time.sleep(1.0)
        before = peers[name].cpu_s()
        time.sleep(seconds)
        used[name] = 100 * (peers[name].cpu_s() - before) / seconds
        for connection in opened:
            release(connection)
        print(f"{name:26} {used[name]:12.2f}")
    print(f"{'15 ours / pynetdicom':26} {used[OURS] / used['pynetdicom']:12.3f}  wanted <= 0.02\n")


def _print_enhanced(peers: dict[str, Peer], count: int) -> None:
    """Enhanced MR objects of 24 MB."""
    objects = enhanced(count, 24)
    print(f"{'Enhanced MR, 24 MB each':26} {'MB/s':>8} {'peak RSS MB':>12} {'before':>8}")
    for name in (NODELAY, "nd orthanc", OURS, DURABLE):
        peers[name].settle()
        before = peers[name].peak_rss_mb()
        sent = blast(peers[name].port, [objects], ENHANCED_MR)
        peers[name].settle()
        rss = peers[name].peak_rss_mb()
        print(f"{name:26} {24 * sent.per_second:8.0f} {rss:12.0f} {before:8.0f}")
    print()


def _curve(peers: dict[str, Peer], images: Images, options: argparse.Namespace, counts: Sequence[int]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    shown = (NODELAY, "nd orthanc", OURS, DURABLE)
    results: Results = {}
    for repetition in range(min(options.repetitions, 3)):
        for associations in counts:
            for peer in _rotated([peers[n] for n in shown], repetition):
                _measure(peer, f"blast x{associations}", images, options.instances, options.out, results)
    figure, axes = plt.subplots(1, 4, figsize=(16, 4), layout="constrained")
    titles = ("instances / s", "response, p50 ms", "response, p99 ms", "CPU ms / instance up to the response")
    for axis, title, value in zip(axes, titles, ("per_second", "p50_ms", "p99_ms", "answering_ms"), strict=True):
        for name in shown:
            axis.plot(counts, [_median(results, name, f"blast x{n}", value) for n in counts], "o-", label=name)
        axis.set(title=title, xlabel="associations", xscale="log", ylim=(0, None))
        axis.set_xticks(counts, [str(n) for n in counts])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend()
    options.out.mkdir(parents=True, exist_ok=True)
    for ending in ("png", "svg"):
        figure.savefig(options.out / f"receive.{ending}", dpi=120)
    print(f"curve: {options.out / 'receive.png'}")


if __name__ == "__main__":
    sys.exit(main())
