"""Planted identifiers: what is left by this program and by public libraries, in MIDI-B's ten kinds of actions.

    python bench/deidentify_leaks.py [--seeds 5] [--libraries PYTHON]

The corpus is `tests/planted/wide.py` (another seed changes every value, no place). PYTHON is the interpreter of an
environment of its own with the libraries that are compared; they run over the first seed:

    python -m venv /tmp/libraries && /tmp/libraries/bin/pip install dicognito==0.19.0 dicom-anonymizer==2.1.0 \\
        dcm-anonymizer==0.5.0 deid==0.4.13 dcmanon==0.3.1
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

from planted.action_score import KINDS, Score, score  # noqa: E402
from planted.corpus import Corpus  # noqa: E402
from planted.wide import make_wide_corpus  # noqa: E402

from bench.deidentify_throughput import mr_file  # noqa: E402
from deidentify.folder import deidentify_folder  # noqa: E402
from deidentify.keys import KeyRing  # noqa: E402
from deidentify.profile import Profile  # noqa: E402
from deidentify.quiet import quiet  # noqa: E402
from deidentify.reading import read  # noqa: E402

LIBRARIES = ("dicognito", "deid", "dicom-anonymizer", "dcm-anonymizer", "dcmanon")
SPEED_FILES = 100


def headers_only() -> Profile:
    """The default profile without reading text in samples of the slices, which costs the same for every series."""
    return replace(Profile.default(), sample_series=False)


def ours(corpus: Corpus, folder: Path) -> Score:
    corpus.write(folder / "in")
    keys = KeyRing(bytes(range(32)), "bench")
    deidentify_folder(folder / "in", folder / "out", keys, headers_only())
    written = {path.stem: path for path in (folder / "out").rglob("*.dcm")}
    outputs = {}
    for name, data in {**corpus.accepted, **corpus.refused}.items():
        path = written.get(keys.uid(str(read(data).SOPInstanceUID)))
        if path is not None:
            outputs[name] = path.read_bytes()
    return score(corpus, outputs)


def theirs(python: str, library: str, corpus: Corpus, folder: Path) -> Score:
    names = list({**corpus.accepted, **corpus.refused})
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    for number, (name, data) in enumerate({**corpus.accepted, **corpus.refused}.items()):
        (folder / "in" / f"{number:05}.dcm").write_bytes(data)
        assert names[number] == name
    run(python, library, folder / "in", folder / "out")
    outputs = {names[int(path.stem)]: path.read_bytes() for path in (folder / "out").glob("*.dcm")}
    return score(corpus, outputs)


def run(python: str, library: str, source: Path, target: Path) -> float:
    """CPU seconds of the library over a folder, its import included."""
    before = os.times()
    command = [python, str(Path(__file__).with_name("deidentify_libraries.py")), library, str(source), str(target)]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def speed(python: str | None, folder: Path) -> dict[str, float]:
    """Files of 230 KB a second of CPU time, on one core; ours with verification and both passes of the folder tool."""
    (folder / "in").mkdir(parents=True)
    for number in range(SPEED_FILES):
        (folder / "in" / f"{number:05}.dcm").write_bytes(mr_file(number))
    started = time.process_time()
    deidentify_folder(folder / "in", folder / "ours", KeyRing(bytes(32), "bench"), headers_only())
    found = {"timepoint": SPEED_FILES / (time.process_time() - started)}
    for library in ("copy", *LIBRARIES) if python else ():
        (folder / library).mkdir()
        found[library] = SPEED_FILES / run(str(python), library, folder / "in", folder / library)
    return found


def line(name: str, result: Score, files_per_s: float | None) -> str:
    kinds = " ".join(f"{100 * result.passed[k] / max(result.checked[k], 1):6.1f}" for k in KINDS)
    resolved, asked = result.references
    rate = f"{files_per_s:5.0f}" if files_per_s else "    -"
    leaked = len({plant for _, plant in result.leaked})
    return (
        f"{name:18} {result.refused:7} {leaked:6}/{result.live:<6} {kinds} {result.percent:7.2f} "
        f"{resolved:4}/{asked:<4} {rate}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--libraries", metavar="PYTHON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, quiet():
        folder = Path(name)
        rates = speed(arguments.libraries, folder / "speed")
        heads = " ".join(f"{kind[:6]:>6}" for kind in KINDS)
        print("kinds, in this order: " + ", ".join(KINDS))
        print(f"{'program':18} refused  leaked/live  {heads}   total refs     files/s of CPU")
        for seed in range(1, arguments.seeds + 1):
            (folder / f"{seed}").mkdir()
            result = ours(make_wide_corpus(seed), folder / f"{seed}")
            print(line(f"timepoint seed {seed}", result, rates["timepoint"]), flush=True)
        for library in LIBRARIES if arguments.libraries else ():
            (folder / f"{library}").mkdir()
            result = theirs(arguments.libraries, library, make_wide_corpus(1), folder / library)
            print(line(library, result, rates[library]), flush=True)
        if "copy" in rates:
            print(f"{'pydicom copy only':18} {rates['copy']:.0f} files/s of CPU")


if __name__ == "__main__":
    main()
