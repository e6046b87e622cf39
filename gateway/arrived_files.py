"""Reads a file of an inbox for the index: its hashes and its facts, without holding a large one in memory."""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset

from gateway.associations import Carrier
from gateway.encoded_structure import examine
from gateway.errors import Unreadable
from gateway.inbox import InboxFile, sync
from gateway.instance_facts import InstanceFacts, NotIndexable, read_facts
from gateway.part10 import EncodedInstance, read_file_header
from gateway.tables import QuarantineKind

_MAPPED_FROM_BYTES = 4 * 2**20
_LONGEST_FILE_HEADER = 4096
_STEP = 2**20


@dataclass(frozen=True, slots=True)
class ArrivedFile:
    """What is known of a file before the database is asked: `blob` is its SHA-256, `digest` that of its data set,
    `problem` why it cannot be indexed. `dataset` is without its pixel data."""

    file: InboxFile
    carrier: Carrier
    instance: EncodedInstance
    blob: str
    digest: str = ""
    facts: InstanceFacts | None = None
    dataset: Dataset | None = None
    problem: NotIndexable | None = None


def read_arrived(file: InboxFile, carrier: Carrier) -> ArrivedFile:
    """Read a file of an inbox; it is on the disk afterwards, because no row may outlive the bytes it speaks of.

    Raises:
        StorageBroken: when it cannot be synced.
        OSError: when it cannot be read.
    """
    sync([file])
    content = _content(file)
    nothing = EncodedInstance("", "", "", carrier.source_ae, b"")
    try:
        instance, at = read_file_header(bytes(content[:_LONGEST_FILE_HEADER]))
    except Unreadable as error:
        problem = NotIndexable(QuarantineKind.UNREADABLE, error.explanation)
        return ArrivedFile(file, carrier, nothing, _sha256(file.path, 0), problem=problem)
    blob, digest = _sha256(file.path, 0), _sha256(file.path, at)
    instance = replace(instance, dataset=content[at:])
    try:
        facts, dataset = checked_facts(instance)
    except NotIndexable as problem:
        return ArrivedFile(file, carrier, instance, blob, digest, problem=problem)
    return ArrivedFile(file, carrier, instance, blob, digest, facts, dataset)


def checked_facts(instance: EncodedInstance) -> tuple[InstanceFacts, Dataset]:
    """The facts, after the look that decided on the C-STORE status: what was refused is kept out of the index too.

    Raises:
        NotIndexable: when something is wrong with it.
    """
    parts, syntax = [instance.dataset], instance.transfer_syntax_uid
    found = examine(parts, syntax, instance.sop_class_uid, instance.sop_instance_uid)
    if found is not None:
        raise NotIndexable(*found)
    return read_facts(instance)


def _content(file: InboxFile) -> bytes | memoryview:
    if file.length < _MAPPED_FROM_BYTES:
        return Path(file.path).read_bytes()
    with Path(file.path).open("rb") as opened:
        return memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))


def _sha256(path: str, start: int) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb", buffering=0) as opened:
        opened.seek(start)
        while piece := opened.read(_STEP):
            digest.update(piece)
    return digest.hexdigest()
