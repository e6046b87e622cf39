"""One planted corpus, de-identified once for all tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from planted.corpus import Corpus, make_corpus
from pydicom.dataset import Dataset

from deidentify.folder import FolderReport, deidentify_folder
from deidentify.keys import KeyRing
from deidentify.profile import Profile
from deidentify.quiet import quiet

KEY = bytes(range(32))


@dataclass
class Processed:
    """A corpus before and after. `outputs` maps the name of the input file to the output file."""

    corpus: Corpus
    source: Path
    target: Path
    ledger: Path
    keys: KeyRing
    report: FolderReport
    outputs: dict[str, Path]

    def before(self, name: str) -> Dataset:
        with quiet():
            return pydicom.dcmread(self.source / name)

    def after(self, name: str) -> Dataset:
        return pydicom.dcmread(self.outputs[name])

    def output_bytes(self) -> dict[str, bytes]:
        return {name: path.read_bytes() for name, path in self.outputs.items()}


def process(corpus: Corpus, folder: Path) -> Processed:
    source, target, ledger = folder / "in", folder / "out", folder / "ledger.jsonl"
    corpus.write(source)
    keys = KeyRing(KEY, "test")
    report = deidentify_folder(source, target, keys, Profile.default(), ledger)
    written = {path.stem: path for path in target.rglob("*.dcm")}
    outputs = {}
    for name in corpus.accepted:
        with quiet():
            uid = keys.uid(str(pydicom.dcmread(source / name, specific_tags=["SOPInstanceUID"]).SOPInstanceUID))
        if uid in written:
            outputs[name] = written[uid]
    return Processed(corpus, source, target, ledger, keys, report, outputs)


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    with quiet():
        return make_corpus(seed=4711, people=5)


@pytest.fixture(scope="session")
def processed(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Processed:
    return process(corpus, tmp_path_factory.mktemp("planted"))


@pytest.fixture
def keys() -> KeyRing:
    return KeyRing(KEY, "test")
