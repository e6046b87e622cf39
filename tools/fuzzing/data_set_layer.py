"""First layer: encoded data sets -> examine, outline, read_part10, read_facts.

Each case has to end in a result or in an error that is declared, whatever the bytes are. Beyond that: a data set
without a fault is accepted; the look before the response finds the same however the data set was fragmented; facts can
be written to any database (no NUL, no lone surrogate, no number that is not finite).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import random
import warnings
from collections.abc import Iterable

from gateway.encoded_structure import examine, flaw, outline
from gateway.errors import Unreadable
from gateway.instance_facts import InstanceFacts, NotIndexable, read_facts
from gateway.part10 import EncodedInstance, read_part10
from tools.fuzzing.data_set_faults import TREE_FAULTS, bomb, damaged_bytes
from tools.fuzzing.elements import DEFLATED
from tools.fuzzing.ledger import Ledger, Wrong
from tools.fuzzing.mr_data_sets import MARK, Case, copied, valid_case

LAYER = "data-sets"
_VALID_SHARE, _BOMB_EVERY = 0.05, 50_001
_READ_EVERY = 3
"""Reading the facts takes ten times as long as all the rest."""


class _Told(logging.Handler):
    """Sees whether a library says patient data."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if MARK in record.getMessage():
            self.told.append(f"{record.filename}:{record.lineno}")


def run(seed: int, numbers: Iterable[int]) -> Ledger:
    """Try the cases with these numbers."""
    ledger, told = Ledger(LAYER, seed), _Told()
    logging.getLogger("pydicom").addHandler(told)
    try:
        with warnings.catch_warnings(), ledger.watching():
            warnings.simplefilter("ignore")
            for number in numbers:
                with ledger.case(number):
                    rng = random.Random(f"{seed}/{LAYER}/{number}")  # noqa: S311
                    ledger.outcomes[_try(rng, number)] += 1
                if told.told:
                    ledger.find(number, "patient data in a log", told.told.pop())
    finally:
        logging.getLogger("pydicom").removeHandler(told)
    return ledger


@functools.cache
def _bases() -> list[Case]:
    """What faults are made in, the same in every run."""
    rng = random.Random(LAYER)  # noqa: S311
    return [valid_case(rng, number) for number in range(1000)]


def made(rng: random.Random, number: int) -> tuple[Case, bytes, bool]:
    """A case, its bytes, and whether it is free of faults."""
    if rng.random() < _VALID_SHARE:
        case = valid_case(rng, number)
        return case, case.encoded(), True
    case = copied(rng.choice(_bases()))
    if number % _BOMB_EVERY == _BOMB_EVERY - 1:
        case.syntax = "1.2.840.10008.1.2.1"
        head = case.encoded()
        case.syntax = DEFLATED
        return case, bomb(rng, head), False
    kind = rng.random()
    if kind < 0.75:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            rng.choice(TREE_FAULTS)(rng, case)
    content = case.encoded()
    if kind > 0.6:
        content = damaged_bytes(rng, content)
    return case, content, False


def _try(rng: random.Random, number: int) -> str:
    case, content, faultless = made(rng, number)
    found = examine([content], case.syntax, case.sop_class, case.sop_instance)
    _looks_alike_in_pieces(rng, case, content, found)
    outline(content[: rng.randrange(len(content) + 1)], case.syntax, whole=False)
    spilled = flaw(outline(content, case.syntax, whole=False), len(content), case.sop_class, case.sop_instance)
    instance = EncodedInstance(case.sop_class, case.sop_instance, case.syntax, "FUZZER", content)
    again = _through_a_file(rng, instance)
    if not faultless and number % _READ_EVERY and number % _BOMB_EVERY != _BOMB_EVERY - 1:
        return f"only looked at: {found[0].value if found else 'accepted'}"
    told = _facts(again)
    if faultless and (found or spilled or isinstance(told, str)):
        raise Wrong(f"a faultless data set is refused: {found or spilled or told}")
    if isinstance(told, str):
        return f"{'refused' if found else 'taken, then set aside'}: {found[0].value if found else told}"
    _can_be_written(told)
    return f"{'refused' if found else 'taken'}: facts"


def _looks_alike_in_pieces(rng: random.Random, case: Case, content: bytes, found: object) -> None:
    cuts = sorted(rng.randrange(len(content) + 1) for _ in range(rng.choice((1, 1, 2, 5))))
    parts = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    pieces = [memoryview(p) for p in parts if p]
    if pieces and (other := examine(pieces, case.syntax, case.sop_class, case.sop_instance)) != found:
        raise Wrong(f"fragmented it is found {other and other[0].value}, whole {getattr(found, '__getitem__', str)(0)}")


def _through_a_file(rng: random.Random, instance: EncodedInstance) -> EncodedInstance:
    file = instance.file_header() + instance.dataset
    if rng.random() < 0.05:
        damaged = damaged_bytes(rng, file[:400]) + file[400:]
        try:
            read_part10(damaged)
        except Unreadable:
            return instance
    try:
        again = read_part10(file)
    except Unreadable:
        if instance.sop_class_uid and instance.sop_instance_uid:
            raise Wrong("our own file header is not read again") from None
        return instance
    if again.dataset != instance.dataset:
        raise Wrong("a file gives back another data set than went in")
    return again


def _facts(instance: EncodedInstance) -> InstanceFacts | str:
    try:
        return read_facts(instance)[0]
    except NotIndexable as problem:
        return problem.kind.value


def _can_be_written(facts: InstanceFacts) -> None:
    try:
        told = json.dumps(dataclasses.asdict(facts), default=str, ensure_ascii=False, allow_nan=False)
        told.encode()
    except ValueError as error:
        raise Wrong(f"facts cannot be written: {type(error).__name__} {str(error)[:40]}") from None
    if "\\u0000" in told:
        raise Wrong("facts hold NUL, which PostgreSQL refuses")
