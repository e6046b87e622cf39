"""Each rule taken away in turn: the scorer must see the leak, and the verification pass must hold the file back.

Without this nobody knows whether "0 leaks" means that the rules work or that the corpus tests nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from planted.scoring import leaks

from deidentify import actions, engine, plan, private, writing
from deidentify.engine import deidentify
from deidentify.folder import deidentify_folder
from deidentify.ledger import Outcome
from deidentify.plan import Plan, Rule, plan_for
from deidentify.profile import Profile
from deidentify.reading import read
from deidentify.rules import Action
from deidentify.subject import Subject, identifiers_of
from deidentify.verification import verify_bytes


@pytest.fixture(autouse=True)
def fresh_plans() -> Iterator[None]:
    plan_for.cache_clear()
    yield
    plan_for.cache_clear()


def keep_as_sent(_context, element, _rule):
    return element, Outcome.KEPT


class PermissivePlan(dict[int, Rule]):
    """A plan without default-deny: what it does not know stays."""

    def get(self, tag, default=None):
        known = super().get(tag, default)
        if known is None and not tag.is_private and tag.group not in (0x0002, 0xFFFC):
            return Rule("", "", Action.KEEP, "broken", Action.KEEP)
        return known


def without_default_deny(monkeypatch):
    original = plan_for.__wrapped__
    monkeypatch.setitem(actions.HANDLERS, Action.KEEP, keep_as_sent)
    monkeypatch.setattr(engine, "plan_for", lambda *key: Plan(PermissivePlan(original(*key).rules)))


def handler(action):
    def disable(monkeypatch):
        monkeypatch.setitem(actions.HANDLERS, action, keep_as_sent)

    return disable


def with_private(monkeypatch):
    def retain(source, tags, _identifiers, out):
        for tag in tags:
            out[tag] = source[tag]
        return set(tags)

    monkeypatch.setattr(private, "retain", retain)


def without_uid_map(monkeypatch):
    monkeypatch.setattr(actions.Context, "map_uid", lambda self, uid: (self.original_uids.add(uid), uid)[1])


def without_code_cleaning(monkeypatch):
    monkeypatch.setattr(engine.codes, "write", lambda _code, _out: None)
    monkeypatch.setattr(plan, "_CODE_MACRO", frozenset())
    monkeypatch.setitem(actions.HANDLERS, Action.CLEAN, keep_as_sent)


BREAKS = {
    "default-deny": without_default_deny,
    "remove": handler(Action.REMOVE),
    "empty": handler(Action.EMPTY),
    "dummy": handler(Action.DUMMY),
    "clean": handler(Action.CLEAN),
    "presence": handler(Action.PRESENCE),
    "sequence name": handler(Action.SEQUENCE_NAME),
    "private": with_private,
    "uid map": without_uid_map,
    "codes": without_code_cleaning,
}


@pytest.fixture(scope="module")
def one_of_each_kind(processed):
    names = [name for name in processed.corpus.accepted if name.startswith("second/0/")]
    return {name: processed.corpus.accepted[name] for name in names}


@pytest.mark.parametrize("rule", BREAKS)
def test_the_scorer_sees_what_a_missing_rule_lets_through(rule, monkeypatch, processed, one_of_each_kind, keys):
    assert leaks(encoded(one_of_each_kind, keys), processed.corpus.plants) == []
    BREAKS[rule](monkeypatch)
    plan_for.cache_clear()
    assert leaks(encoded(one_of_each_kind, keys), processed.corpus.plants) != []


def encoded(files, keys):
    results = {}
    for name, data in files.items():
        received = read(data)
        subject = Subject(b"s" * 16, identifiers_of(received))
        results[name] = writing.to_bytes(deidentify(received, subject, keys, Profile.default()).dataset)
    return results


@pytest.mark.parametrize("rule", ["default-deny", "remove", "empty", "uid map", "private"])
def test_verification_holds_back_what_a_missing_rule_lets_through(rule, monkeypatch, processed, keys, tmp_path):
    """Not so for cleaned text: who is named there and nowhere else in the study, only the vocabulary stops."""
    BREAKS[rule](monkeypatch)
    plan_for.cache_clear()
    report = deidentify_folder(processed.source / "second", tmp_path / "out", keys, Profile.default())
    assert report.refused_by_code["verification"] >= 3
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")}
    assert leaks(written, processed.corpus.plants) == []


def test_verification_misses_no_name_of_the_header_itself(processed, keys):
    """The originals, given to the pass as if they were output."""
    for name, data in processed.corpus.accepted.items():
        received = read(data)
        if name.endswith("deflated"):
            continue
        subject = Subject(b"", identifiers_of(received))
        codes = {finding.code.value for finding in verify_bytes(data, subject, {str(received.StudyInstanceUID)}, ("",))}
        assert {"identifier", "original-uid", "not-marked"} <= codes, name
