"""The wide corpus in MIDI-B's ten kinds of actions: more places, forms and encodings, structure sets, code streams."""

from __future__ import annotations

import pytest
from planted.action_score import KINDS, Score, score
from planted.wide import make_wide_corpus, media_directory

from deidentify.errors import Refused
from deidentify.folder import deidentify_folder
from deidentify.keys import KeyRing
from deidentify.profile import Profile
from deidentify.quiet import quiet
from deidentify.reading import read
from deidentify.sop_classes import accepted


def scored(seed: int, folder, keys: KeyRing) -> tuple[Score, dict[str, str], set[str]]:
    with quiet():
        corpus = make_wide_corpus(seed)
        corpus.write(folder / "in")
        report = deidentify_folder(folder / "in", folder / "out", keys, Profile.default())
        written = {path.stem: path for path in (folder / "out").rglob("*.dcm")}
        outputs = {}
        for name, data in {**corpus.accepted, **corpus.refused}.items():
            path = written.get(keys.uid(str(read(data).SOPInstanceUID)))
            if path is not None:
                outputs[name] = path.read_bytes()
        return score(corpus, outputs), {str(r.path): r.code.value for r in report.refused}, set(corpus.refused)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[Score, dict[str, str], set[str]]:
    return scored(20, tmp_path_factory.mktemp("wide"), KeyRing(bytes(range(32)), "test"))


def test_no_planted_identifier_is_left(wide):
    result, _, _ = wide
    assert result.leaked == []
    assert result.live > 10_000


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_action_is_right(wide, kind):
    result, _, _ = wide
    assert result.checked[kind] > 0
    assert [failure for failure in result.failures if failure[0] == kind] == []


def test_all_references_resolve(wide):
    resolved, asked = wide[0].references
    assert [failure for failure in wide[0].failures if failure[0] == "reference"] == []
    assert resolved == asked > 100


def test_what_is_refused_is_refused_on_purpose_and_nothing_else(wide):
    _, refused, expected = wide
    assert {name: name.partition("/")[0] for name in expected} == refused


def test_a_media_directory_is_refused_by_name():
    with pytest.raises(Refused, match="DICOMDIR"):
        accepted(read(media_directory("Doe^Jane")), Profile.default())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [31, 32, 33, 34, 35])
def test_no_leak_and_no_wrong_action_on_fresh_seeds(seed, keys, tmp_path):
    result, refused, expected = scored(seed, tmp_path, keys)
    assert result.leaked == []
    assert result.percent >= 99.9
    assert set(refused) == expected
