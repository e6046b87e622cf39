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

import numpy as np

from longitudinal.features import FEATURE_SCHEMA
from longitudinal.histories import Histories, Patient, Source, Truth, TruthFile, encode, sha256
from training.simulate import histories_parameters
from training.simulate.histories_assembly import assemble
from training.simulate.histories_course import MINIMUM_SCANS, Course
from training.simulate.histories_parameters import TYPE_SHARE

GENERATOR = "generator/1"
BLOCK_PATIENTS = 1024


@dataclass(frozen=True)
class SimulatedHistories:
    """The histories and, apart from them, the latent truth."""

    histories: Histories
    truth: TruthFile


def simulate_histories(patients: int, seed: int) -> SimulatedHistories:
    """Simulate histories of `patients` patients with 6 to 15 scans each.

    Patients who died or were lost before their sixth scan are not among them.

    Raises:
        ValueError: when `patients` is not positive.
    """
    if patients < 1:
        raise ValueError(f"at least one patient is needed, not {patients}")
    chosen = list(itertools.islice(iterate_patients(seed), patients))
    histories = Histories(
        source=Source(kind="synthetic", generator=GENERATOR, seed=seed, config_sha256=config_sha256()),
        patients=tuple(patient for patient, _ in chosen),
    )
    truth = TruthFile(
        histories_sha256=sha256(encode(histories)), truth={patient.pid: truth for patient, truth in chosen}
    )
    return SimulatedHistories(histories, truth)


def iterate_patients(seed: int) -> Iterator[tuple[Patient, Truth]]:
    """The same patients without end and without holding more than one block of them."""
    for number in itertools.count():
        rng = np.random.default_rng([seed, number])
        tumour = rng.choice(len(TYPE_SHARE), BLOCK_PATIENTS, p=TYPE_SHARE)
        course = Course(rng, tumour.astype(np.int64))
        course.run()
        yield from assemble(course.block(), f"{GENERATOR}:{seed}:{number}", MINIMUM_SCANS)


def config_sha256() -> str:
    """Hash of what the generator is made of: its sources' parameter tables."""
    tables = {
        k: v for k, v in vars(histories_parameters).items() if k.isupper() and isinstance(v, tuple | dict | float)
    }
    text = repr(sorted(tables.items())) + FEATURE_SCHEMA + GENERATOR
    return hashlib.sha256(text.encode()).hexdigest()
