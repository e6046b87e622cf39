"""Reads a file of an inbox for the index: its hashes and its facts, without holding a large one in memory."""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset

from gateway.alike_images import AlikeImages
from gateway.arrivals import StoredInstance
from gateway.associations import Carrier
from gateway.encoded_structure import examine, examined
from gateway.errors import Unreadable
from gateway.inbox import InboxFile
from gateway.instance_facts import InstanceFacts, NotIndexable, read_facts
from gateway.part10 import EncodedInstance, read_file_header
from gateway.sop_classes import ACCEPTED, WITH_PIXEL_DATA
from gateway.tables import InstanceRole, QuarantineKind

_MAPPED_FROM_BYTES = 4 * 2**20
_LONGEST_FILE_HEADER = 4096
_STEP = 2**20


@dataclass(frozen=True, slots=True)
class ArrivedFile:
    """What is known of a file before the database is asked: `blob` is its SHA-256, `digest` that of its data set,
    `problem` why it cannot be indexed. `dataset` is without its pixel data, None for images."""

    file: InboxFile
    carrier: Carrier
    instance: EncodedInstance
    blob: str
    digest: str = ""
    facts: InstanceFacts | None = None
    dataset: Dataset | None = None
    problem: NotIndexable | None = None

    @property
    def is_image(self) -> bool:
        return self.facts is not None and ACCEPTED[self.facts.sop_class_uid] is InstanceRole.IMAGE

    @property
    def study_uid(self) -> str:
        """Empty where it is not known."""
        return self.facts.study_instance_uid if self.facts is not None else ""

    def stored(self) -> StoredInstance | None:
        """What goes into the index; None where it cannot."""
        if self.facts is None or self.problem is not None:
            return None
        syntax, source = self.instance.transfer_syntax_uid, self.instance.source_ae
        return StoredInstance(self.facts, syntax, source, self.blob, self.digest, len(self.instance.dataset))


def read_arrived(file: InboxFile, carrier: Carrier, alike: AlikeImages) -> ArrivedFile:
    """Read a file of an inbox that is on the disk; `alike` knows what was read before.

    Raises:
        OSError: when it cannot be read.
    """
    content = _content(file)
    nothing = EncodedInstance("", "", "", carrier.source_ae, b"")
    try:
        instance, at = read_file_header(bytes(content[:_LONGEST_FILE_HEADER]))
    except Unreadable as error:
        problem = NotIndexable(QuarantineKind.UNREADABLE, error.explanation)
        return ArrivedFile(file, carrier, nothing, _sha256(file.path, content, 0), problem=problem)
    blob, digest = _sha256(file.path, content, 0), _sha256(file.path, content, at)
    instance = replace(instance, dataset=content[at:])
    try:
        facts, dataset = _facts(instance, alike)
    except NotIndexable as problem:
        return ArrivedFile(file, carrier, instance, blob, digest, problem=problem)
    return ArrivedFile(file, carrier, instance, blob, digest, facts, dataset)


def _facts(instance: EncodedInstance, alike: AlikeImages) -> tuple[InstanceFacts, Dataset | None]:
    """`checked_facts`, without a data set for images: nobody asks for it."""
    if instance.sop_class_uid not in WITH_PIXEL_DATA:
        return checked_facts(instance)
    parts, syntax = [instance.dataset], instance.transfer_syntax_uid
    found, seen = examined(parts, syntax, instance.sop_class_uid, instance.sop_instance_uid, alike.look)
    if found is not None:
        raise NotIndexable(*found)
    return alike.facts(instance, seen, lambda image: read_facts(image)[0]), None


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


def _sha256(path: str, content: bytes | memoryview, start: int) -> str:
    """A mapped file is read for it: pages that a hash has walked over stay in the memory of the process."""
    if isinstance(content, bytes):
        return hashlib.sha256(memoryview(content)[start:]).hexdigest()
    digest = hashlib.sha256()
    with Path(path).open("rb", buffering=0) as opened:
        opened.seek(start)
        while piece := opened.read(_STEP):
            digest.update(piece)
    return digest.hexdigest()
