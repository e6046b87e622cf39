"""The folder tool over many files: files per second of CPU time with everything that it does, and memory on the way.

    python bench/deidentify_folder.py [FILES]

Makes FILES (default 10000) MR instances of 230 KB in series of 200, one patient for each five series, runs `timepoint
deidentify` on them, and prints its resident memory at each tenth of the way.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pydicom
from deidentify_throughput import mr_file

SERIES, PATIENT = 200, 1000
_TICK = os.sysconf("SC_CLK_TCK")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory(prefix="timepoint-bench-") as work:
        source, target = Path(work) / "in", Path(work) / "out"
        _make(source, count)
        command = [sys.executable, "-m", "timepoint", "deidentify", str(source), str(target)]
        command += ["--key-file", str(Path(work) / "key"), "--json"]
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        levels, used_s = _watch(run, target, count)
        if run.returncode:
            raise SystemExit(f"timepoint deidentify ended with {run.returncode}")
        written = sum(1 for _ in target.rglob("*.dcm"))
    for share, resident_mb in levels:
        print(f"{share:5.0%}  {resident_mb:6.0f} MB")
    print(f"{count} files, {written} written, {count / used_s:.0f} files/s of CPU time, load {os.getloadavg()[0]:.1f}")


def _make(source: Path, count: int) -> None:
    template = pydicom.dcmread(pydicom.filebase.DicomBytesIO(mr_file(1)))
    for number in range(count):
        series, patient = number // SERIES, number // PATIENT
        folder = source / f"s{series}"
        folder.mkdir(parents=True, exist_ok=True)
        template.PatientID, template.PatientName = f"PID{patient:07d}", f"Mustermann{patient}^Erika"
        template.StudyInstanceUID = f"1.3.12.2.1107.5.2.19.1.{patient}"
        template.SeriesInstanceUID = f"1.3.12.2.1107.5.2.19.2.{series}"
        template.SOPInstanceUID = f"1.3.12.2.1107.5.2.19.3.{number}"
        template.file_meta.MediaStorageSOPInstanceUID = template.SOPInstanceUID
        template.InstanceNumber = str(number % SERIES + 1)
        template.save_as(folder / f"{number}.dcm")


def _watch(run: subprocess.Popen[bytes], target: Path, count: int) -> tuple[list[tuple[float, float]], float]:
    """Share of the files written and resident MB at each tenth, and the CPU seconds of the whole run."""
    levels: list[tuple[float, float]] = []
    used_s = 0.0
    while run.poll() is None:
        try:
            fields = Path(f"/proc/{run.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError, IndexError):
            break
        used_s = (int(fields[11]) + int(fields[12])) / _TICK
        share = sum(1 for _ in target.rglob("*.dcm")) / count if target.exists() else 0.0
        if not levels or share >= levels[-1][0] + 0.1:
            levels.append((share, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6))
        time.sleep(1)
    run.wait()
    return levels, used_s


if __name__ == "__main__":
    main()
