"""Treatment of simulated patients: a first-line plan, and salvage decided from measured volumes only.

Every treatment has the day of its decision. Salvage never looks at the latent tumour: given the history, treatment
is ignorable, as it is for a forecast made from the same history.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from longitudinal.treatments import KINDS, TreatmentTable, effective_end
from training.simulate.histories_growth import GivenThisWeek
from training.simulate.histories_parameters import ASTRO, BM, GBM, MENING, OLIGO, VS, Bools, Floats, Ints

SURGERY, RT, CHEMO, ANTIANGIOGENIC, SRS, STEROID = (
    KINDS.index(k) for k in ("surgery", "rt", "chemo", "antiangiogenic", "srs", "steroid")
)
FIRST_LINE_SLOTS = 4
SALVAGE_ROUNDS = 2
STEROID_SLOTS = 2
STEROID_SLOT = FIRST_LINE_SLOTS + 2 * SALVAGE_ROUNDS
SLOTS = STEROID_SLOT + STEROID_SLOTS
RT_DAYS = 41
_MONTH = 30.4375


@dataclass
class Plans:
    """Treatments by slot, arrays (patients, slots); `kind` -1 is an empty slot, `last` the last day, in days
    from presentation."""

    kind: Ints
    decided: Floats
    start: Floats
    last: Floats
    rounds: Ints

    def put(
        self, where: Bools, slot: Ints | int, kind: Ints | int, begin: Floats, days: Floats, decided: Floats
    ) -> None:
        """Enter a treatment for the patients in `where`; the other arguments have one value per patient."""
        rows = np.flatnonzero(where)
        columns = np.broadcast_to(slot, where.shape)[rows]
        self.kind[rows, columns] = np.broadcast_to(kind, where.shape)[rows]
        # Treatment begins on the first day of a simulated week, scans lie later in the week.
        start = np.floor(begin[rows] / 7) * 7
        self.start[rows, columns] = start
        self.last[rows, columns] = start + np.maximum(np.round(days[rows]) - 1, 0)
        self.decided[rows, columns] = np.minimum(decided[rows], start)

    def given(self, day: float) -> GivenThisWeek:
        """What is given in the week that begins on `day`."""
        end = effective_end(self.kind, self.start, self.last)
        active = (self.start <= day) & (day < end) & (self.kind >= 0)

        def any_of(*codes: int) -> Bools:
            return np.asarray((active & np.isin(self.kind, codes)).any(axis=1))

        surgery = ((self.kind == SURGERY) & (self.start == day)).any(axis=1)
        return GivenThisWeek(
            np.asarray(surgery), any_of(RT, SRS), any_of(CHEMO), any_of(ANTIANGIOGENIC), any_of(STEROID)
        )

    def table(self, shift: Floats) -> TreatmentTable:
        """The table with days counted from `shift`, the day of each patient's first scan."""
        end = effective_end(self.kind, self.start, self.last)
        move = shift[:, None]
        return TreatmentTable(self.kind, self.decided - move, self.start - move, end - move)


def first_line(rng: np.random.Generator, tumour: Ints) -> Plans:
    """The first-line plan of each patient from the day of presentation."""
    n = len(tumour)
    plans = Plans(
        kind=np.full((n, SLOTS), -1, dtype=np.int64),
        decided=np.zeros((n, SLOTS)),
        start=np.full((n, SLOTS), np.inf),
        last=np.full((n, SLOTS), -np.inf),
        rounds=np.zeros(n, dtype=np.int64),
    )
    _glioblastoma(plans, rng, tumour == GBM)
    _diffuse_glioma(plans, rng, (tumour == ASTRO) | (tumour == OLIGO))
    _meningioma(plans, rng, tumour == MENING)
    _metastasis(plans, rng, tumour == BM)
    _schwannoma(plans, rng, tumour == VS)
    return plans


def _glioblastoma(plans: Plans, rng: np.random.Generator, who: Bools) -> None:
    """Resection, then radiotherapy with temozolomide and adjuvant temozolomide (Stupp, NEJM 2005;352:987)."""
    n = len(who)
    one = np.ones(n)
    surgery = rng.uniform(9, 25, n)
    begin = surgery + rng.uniform(27, 43, n)
    plans.put(who & (rng.random(n) < 0.9), 0, SURGERY, surgery, one, 0 * one)
    plans.put(who, 1, RT, begin, RT_DAYS * one, surgery)
    plans.put(who, 2, CHEMO, begin, RT_DAYS * one, surgery)
    months = rng.choice([3.0, 6.0, 6.0, 6.0, 9.0, 12.0], n)
    plans.put(who & (rng.random(n) < 0.85), 3, CHEMO, begin + RT_DAYS + 28, months * _MONTH, begin)


def _diffuse_glioma(plans: Plans, rng: np.random.Generator, who: Bools) -> None:
    """Resection in half; radiotherapy with or without chemotherapy, chemotherapy alone, or watching."""
    n = len(who)
    one = np.ones(n)
    plans.put(who & (rng.random(n) < 0.55), 0, SURGERY, rng.uniform(9, 25, n), one, 0 * one)
    choice = rng.random(n)
    begin = rng.uniform(1, 6, n) * _MONTH
    plans.put(who & (choice < 0.40), 1, RT, begin, RT_DAYS * one, begin - 21)
    then = who & (choice < 0.40) & (rng.random(n) < 0.7)
    plans.put(then, 2, CHEMO, begin + 2 * _MONTH, rng.uniform(6, 12, n) * _MONTH, begin)
    alone = rng.uniform(1, 8, n) * _MONTH
    plans.put(who & (choice >= 0.40) & (choice < 0.65), 2, CHEMO, alone, rng.uniform(6, 14, n) * _MONTH, alone - 21)


def _meningioma(plans: Plans, rng: np.random.Generator, who: Bools) -> None:
    n = len(who)
    one = np.ones(n)
    choice = rng.random(n)
    surgery, rt = rng.uniform(0.5, 6, n) * _MONTH, rng.uniform(0.5, 8, n) * _MONTH
    plans.put(who & (choice < 0.10), 0, SURGERY, surgery, one, surgery - 28)
    plans.put(who & (choice >= 0.10) & (choice < 0.25), 1, RT, rt, RT_DAYS * one, rt - 28)


def _metastasis(plans: Plans, rng: np.random.Generator, who: Bools) -> None:
    n = len(who)
    one = np.ones(n)
    surgery = rng.uniform(7, 20, n)
    plans.put(who & (rng.random(n) < 0.25), 0, SURGERY, surgery, one, 0 * one)
    plans.put(who & (rng.random(n) < 0.85), 1, SRS, surgery + 14, one, 0 * one)
    begin = surgery + rng.uniform(14, 60, n)
    plans.put(who & (rng.random(n) < 0.6), 3, CHEMO, begin, rng.uniform(6, 18, n) * _MONTH, begin - 14)


def _schwannoma(plans: Plans, rng: np.random.Generator, who: Bools) -> None:
    """Mostly watched; radiosurgery in a quarter, resection in one of ten."""
    n = len(who)
    one = np.ones(n)
    choice, begin = rng.random(n), rng.uniform(0.5, 8, n) * _MONTH
    plans.put(who & (choice < 0.10), 0, SURGERY, begin, one, begin - 28)
    plans.put(who & (choice >= 0.10) & (choice < 0.35), 1, SRS, begin, one, begin - 28)


def steroids(plans: Plans, rng: np.random.Generator, symptomatic: Bools, day: float) -> None:
    """Decide on `day` on three to ten weeks of steroids for the patients in `symptomatic`."""
    n = len(symptomatic)
    used = (plans.kind[:, STEROID_SLOT:] >= 0).sum(axis=1)
    free = symptomatic & (used < STEROID_SLOTS) & ~plans.given(day + 6).steroid
    slot = np.minimum(STEROID_SLOT + used, SLOTS - 1)
    plans.put(free, slot, STEROID, np.full(n, day + 6), rng.uniform(21, 70, n), np.full(n, day))


def salvage(
    plans: Plans, rng: np.random.Generator, tumour: Ints, progressed: Bools, day: float, share: Floats | float
) -> None:
    """Decide on `day` what the patients whose measured volume has progressed get next; `share` of them are treated."""
    n = len(tumour)
    who = progressed & (plans.rounds < SALVAGE_ROUNDS) & (rng.random(n) < share)
    slot = np.minimum(FIRST_LINE_SLOTS + 2 * plans.rounds, STEROID_SLOT - 2)
    plans.rounds += who
    choice = rng.random(n)
    start = day + rng.uniform(14, 36, n)
    decided = np.full(n, day)
    one = np.ones(n)
    glioma = (tumour == ASTRO) | (tumour == OLIGO)
    irradiated = np.isin(plans.kind[:, :FIRST_LINE_SLOTS], (RT, SRS)).any(axis=1)
    gbm, meningioma, metastasis = tumour == GBM, (tumour == MENING) | (tumour == VS), tumour == BM
    surgery = (gbm & (choice < 0.2)) | (meningioma & (choice < 0.3)) | (metastasis & (choice > 0.85))
    rt = (glioma & ~irradiated & (choice < 0.6)) | (meningioma & (choice >= 0.3) & (choice < 0.7))
    second = gbm & (choice >= 0.2) & (choice < 0.7)
    plans.put(who & surgery, slot, SURGERY, start, one, decided)
    plans.put(who & rt, slot, RT, start, RT_DAYS * one, decided)
    plans.put(who & metastasis & (choice < 0.6), slot, SRS, start, one, decided)
    plans.put(who & glioma & ~rt, slot, CHEMO, start, rng.uniform(6, 12, n) * _MONTH, decided)
    plans.put(who & second, slot, ANTIANGIOGENIC, start, rng.uniform(3, 9, n) * _MONTH, decided)
    plans.put(who & second, slot + 1, CHEMO, start, 5 * _MONTH * one, decided)
