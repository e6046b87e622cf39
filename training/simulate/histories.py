"""Simulated longitudinal histories with latent truth: `generator/1`.

Patients are simulated in blocks of fixed size, each from its own seed, so that the first patients of a larger set
are those of a smaller one and a set of any size needs the memory of one block. Treatment is decided from measured
volumes; four in ten patients are first seen in mid-course, as a gateway would see them.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longitudinal.features import FEATURE_SCHEMA
from longitudinal.histories import (
    Histories,
    Patient,
    Source,
    Truth,
    TruthFile,
    encode,
    encode_lines,
    encode_truth_line,
    sha256,
)
from training.simulate import histories_parameters
from training.simulate.histories_assembly import assemble
from training.simulate.histories_course import MINIMUM_SCANS, Course
from training.simulate.histories_parameters import TYPE_SHARE

GENERATOR = "generator/1"
BLOCK_PATIENTS = 1024


@dataclass(frozen=True)
class Setting:
    """What kind of cohort is simulated: shares of the types of `TYPES`, and a factor on the volumes at presentation."""

    type_share: tuple[float, ...] = TYPE_SHARE
    size_scale: float = 1.0


REALISTIC = Setting()
SURVEILLANCE = Setting(type_share=(0.0, 0.40, 0.24, 0.36, 0.0, 0.0), size_scale=0.19)
"""Slowly growing tumours that are watched while small."""


@dataclass(frozen=True)
class SimulatedHistories:
    """The histories and, apart from them, the latent truth."""

    histories: Histories
    truth: TruthFile


def simulate_histories(patients: int, seed: int, setting: Setting = REALISTIC) -> SimulatedHistories:
    """Simulate histories of `patients` patients with 6 to 15 scans each.

    Patients who died or were lost before their sixth scan are not among them.

    Raises:
        ValueError: when `patients` is not positive.
    """
    if patients < 1:
        raise ValueError(f"at least one patient is needed, not {patients}")
    chosen = list(itertools.islice(iterate_patients(seed, setting), patients))
    histories = Histories(
        source=Source(kind="synthetic", generator=GENERATOR, seed=seed, config_sha256=config_sha256(setting)),
        patients=tuple(patient for patient, _ in chosen),
    )
    truth = TruthFile(
        histories_sha256=sha256(encode(histories)), truth={patient.pid: truth for patient, truth in chosen}
    )
    return SimulatedHistories(histories, truth)


def iterate_patients(seed: int, setting: Setting = REALISTIC) -> Iterator[tuple[Patient, Truth]]:
    """The same patients without end and without holding more than one block of them."""
    for number in itertools.count():
        rng = np.random.default_rng([seed, number])
        tumour = rng.choice(len(TYPE_SHARE), BLOCK_PATIENTS, p=setting.type_share)
        course = Course(rng, tumour.astype(np.int64), setting.size_scale)
        course.run()
        yield from assemble(course.block(), f"{GENERATOR}:{seed}:{number}", MINIMUM_SCANS)


def write_lines(file: Path, truth_file: Path, patients: int, seed: int, setting: Setting = REALISTIC) -> str:
    """Write patients and their truth as JSON Lines as they are made, and give the SHA-256 of the histories.

    The memory needed is that of one block, whatever the number of patients. The truth has one patient per line and
    the hash of the histories in its last line, which is known only then.

    Raises:
        ValueError: when `patients` is not positive.
    """
    if patients < 1:
        raise ValueError(f"at least one patient is needed, not {patients}")
    source = Source(kind="synthetic", generator=GENERATOR, seed=seed, config_sha256=config_sha256(setting))
    digest = hashlib.sha256()
    with file.open("wb") as out, truth_file.open("wb") as beside:

        def each() -> Iterator[Patient]:
            for patient, truth in itertools.islice(iterate_patients(seed, setting), patients):
                beside.write(encode_truth_line(patient.pid, truth))
                yield patient

        for line in encode_lines(Histories(source=source, patients=()), each()):
            digest.update(line)
            out.write(line)
        beside.write(b'{"histories_sha256":"' + digest.hexdigest().encode() + b'"}\n')
    return digest.hexdigest()


def config_sha256(setting: Setting = REALISTIC) -> str:
    """Hash of what the generator is made of: its parameter tables and the setting."""
    named = {k: v for k, v in vars(histories_parameters).items() if k.isupper() and k != "SOURCES"}
    tables = {k: v for k, v in named.items() if isinstance(v, tuple | dict | float)}
    text = repr(sorted(tables.items())) + FEATURE_SCHEMA + GENERATOR + repr(setting)
    return hashlib.sha256(text.encode()).hexdigest()
