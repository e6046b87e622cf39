"""Frozen simulated cohorts that claims are made on: seed, number and hash say exactly which patients they are.

`SURV-REF-1`: slowly growing tumours that are watched while small; `MIX-REF-1`: the realistic mix. Patients of the
test part are the first of their seed; no model is trained with these seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

from longitudinal.histories import encode, sha256
from training.simulate.histories import REALISTIC, SURVEILLANCE, Setting, SimulatedHistories, simulate_histories


class CohortChanged(ValueError):
    """A frozen cohort is not what it was: the generator, numpy or the platform draws other patients."""


@dataclass(frozen=True)
class ReferenceCohort:
    """`sha256` names the file of the first `probe` patients, so that a change shows without drawing them all."""

    name: str
    setting: Setting
    seed: int
    patients: int
    probe: int
    sha256: str

    def simulate(self, patients: int | None = None) -> SimulatedHistories:
        """The cohort, or its first `patients`.

        Raises:
            CohortChanged: when the patients drawn are not those that were frozen.
        """
        found = self.probe_sha256()
        if found != self.sha256:
            raise CohortChanged(
                f"{self.name}: its first {self.probe} patients have the hash {found}, not {self.sha256}"
            )
        return simulate_histories(patients or self.patients, self.seed, self.setting)

    def probe_sha256(self) -> str:
        """The hash of the first patients as they are drawn here."""
        return sha256(encode(simulate_histories(self.probe, self.seed, self.setting).histories))


SURV_REF_1 = ReferenceCohort(
    "SURV-REF-1", SURVEILLANCE, 710_001, 3000, 40, "cb9b21e836749dd3f757f8f662eef8bcd0d6e34e7a041b208d9ce30d99e6ad4c"
)
MIX_REF_1 = ReferenceCohort(
    "MIX-REF-1", REALISTIC, 710_002, 3000, 40, "94727be3dcf2a4edcc677cc3974496fa0e757447c6e8768b2e81fe858b4f4a60"
)
REFERENCE_COHORTS = {cohort.name: cohort for cohort in (SURV_REF_1, MIX_REF_1)}
