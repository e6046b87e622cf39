"""The profile file and the tables that the rules rest on."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from deidentify import tables
from deidentify.errors import ProfileError
from deidentify.plan import plan_for
from deidentify.profile import Profile
from deidentify.rules import Action
from deidentify.text import vocabulary

COMMON_NAMES = frozenset(
    [
        "smith",
        "jones",
        "taylor",
        "brown",
        "williams",
        "wilson",
        "johnson",
        "davies",
        "robinson",
        "wright",
        "thompson",
        "evans",
        "walker",
        "white",
        "roberts",
        "green",
        "hall",
        "wood",
        "jackson",
        "clarke",
        "miller",
        "davis",
        "garcia",
        "rodriguez",
        "martinez",
        "anderson",
        "thomas",
        "moore",
        "martin",
        "lee",
        "perez",
        "harris",
        "clark",
        "lewis",
        "young",
        "allen",
        "king",
        "scott",
        "torres",
        "nguyen",
        "hill",
        "flores",
        "adams",
        "nelson",
        "baker",
        "rivera",
        "campbell",
        "mitchell",
        "carter",
        "mueller",
        "schmidt",
        "schneider",
        "fischer",
        "weber",
        "meyer",
        "wagner",
        "becker",
        "schulz",
        "hoffmann",
        "koch",
        "bauer",
        "richter",
        "klein",
        "wolf",
        "braun",
        "neumann",
        "schwarz",
        "hofmann",
        "zimmermann",
        "krueger",
        "hartmann",
        "lange",
        "kim",
        "park",
        "choi",
        "chen",
        "wang",
        "li",
        "zhang",
        "liu",
        "singh",
        "kumar",
    ]
)
ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("generate", ROOT / "tools" / "generate_deidentify_data.py")
assert _SPEC is not None
assert _SPEC.loader is not None
generate = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(generate)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "profile.toml"
    path.write_text(text)
    return path


def test_an_empty_profile_is_the_default(tmp_path):
    assert Profile.load(write(tmp_path, "")) == Profile.default()


def test_a_profile_changes_only_what_it_names(tmp_path):
    loaded = Profile.load(write(tmp_path, 'name = "strict"\n[options]\nretain_safe_private = false\n'))
    assert loaded.name == "strict"
    assert not loaded.retain_safe_private
    assert loaded.clean_descriptors
    assert loaded.sop_classes == Profile.default().sop_classes


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("[option]\n", "options"),
        ("[options]\nretain_modified_date = true\n", "options.retain_modified_dates"),
        ("[descriptors]\nextra_word = []\n", "descriptors.extra_words"),
        ("[sop_classes]\naccept = []\n", "sop_classes.accepted"),
    ],
)
def test_an_unknown_key_names_the_nearest(tmp_path, text, nearest):
    with pytest.raises(ProfileError, match=f"nearest known one is `{nearest}`"):
        Profile.load(write(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "options = 1\n",
        "[options]\nclean_graphics = false\n",
        "[options]\nclean_descriptors = 'yes'\n",
        "[descriptors]\nattributes = 'SeriesDescription'\n",
        "name = 'a\\\\b'\n",
    ],
)
def test_a_wrong_profile_is_refused(tmp_path, text):
    with pytest.raises(ProfileError):
        Profile.load(write(tmp_path, text))


def test_vendored_annex_e_is_what_the_newest_package_says():
    """Fails when dicom-anonymizer packages an edition that we have not generated."""
    edition = generate.newest_edition()
    assert edition == tables.EDITION
    vendored = (ROOT / "deidentify" / "data" / f"annex_e_{edition}.json").read_text()
    assert vendored == generate.dump_annex_e(generate.annex_e(edition))


def test_vendored_iods_are_what_highdicom_says():
    vendored = (ROOT / "deidentify" / "data" / "iods.json").read_text()
    assert vendored == generate.dump_iods(generate.iods())


def test_an_older_independent_table_agrees(real_data):
    """Every attribute of the table of another project is listed, with the same code but for known later changes."""
    other = json.loads((real_data / "deid" / "ps315_table_e1_1.json").read_text())
    ours = tables.annex_e()
    plain = [row for row in other if row.get("basicProfile") and re.fullmatch("[0-9a-f]{8}", row["id"])]
    missing = [row["tag"] for row in plain if ours.code(int(row["id"], 16)) is None]
    changed = [row["tag"] for row in plain if ours.code(int(row["id"], 16)) not in (None, row["basicProfile"])]
    assert len(plain) > 600
    assert missing == []
    assert changed == []


def test_no_rule_keeps_more_than_the_option_columns_of_the_independent_table_allow(real_data):
    rows = json.loads((real_data / "deid" / "ps315_table_e1_1.json").read_text())
    by_tag = {int(row["id"], 16): row for row in rows if re.fullmatch("[0-9a-f]{8}", row["id"])}
    allowed = {
        "rtnLongModifDatesOpt": (Action.SHIFT_DATE, Action.SHIFT_DATETIME, Action.KEEP_TIME),
        "cleanDescOpt": (Action.CLEAN, Action.SEQUENCE_NAME, Action.PUBLIC, Action.TOKEN, Action.SHORT_TERM),
        "rtnPatCharsOpt": (Action.KEEP, Action.KEEP_TERM, Action.KEEP_NUMBER_STRING, Action.CAP_AGE),
    }
    checked = 0
    for rule, tag in all_rules():
        for option, actions in allowed.items():
            if tag in by_tag and rule.action in actions:
                assert option in by_tag[tag], rule
                checked += 1
    assert checked > 300


def all_rules():
    seen: set[int] = set()
    waiting = [plan_for(sop_class, Profile.default()) for sop_class in Profile.default().sop_classes]
    while waiting:
        plan = waiting.pop()
        if id(plan) not in seen:
            seen.add(id(plan))
            waiting += [rule.children for rule in plan.rules.values() if rule.children is not None]
            yield from ((rule, tag) for tag, rule in plan.rules.items())


def test_repeating_groups_are_covered():
    table = tables.annex_e()
    assert table.code(0x50003000) == "X"
    assert table.code(0x601E3000) == "X"
    assert table.code(0x60004000) == "X"
    assert table.code(0x00280010) is None


def test_every_accepted_class_has_a_plan_without_graphics_or_unknown_actions():
    profile = Profile.default()
    for sop_class in profile.sop_classes:
        plan = plan_for(sop_class, profile)
        assert plan.rules[0x00100010].action is Action.PSEUDONYM
        assert plan.rules[0x0020000D].action is Action.MAP_UID
        assert not [tag for tag in plan.rules if tag >> 24 in (0x50, 0x60)]
        assert not [tag for tag in plan.rules if tag >> 16 == 0x0012 and plan.rules[tag].action is not Action.REMOVE]


def test_no_path_of_any_plan_keeps_a_name_an_application_entity_or_opaque_bytes():
    allowed = (Action.REMOVE, Action.EMPTY, Action.DUMMY, Action.PSEUDONYM)
    rules = [rule for rule, _ in all_rules() if rule.vr in ("PN", "AE", "UR", "OB", "UN")]
    assert len(rules) > 100
    assert [rule for rule in rules if rule.action not in allowed] == []


def test_the_vocabulary_is_small_and_holds_no_common_family_name():
    words = vocabulary()
    assert len(words) < 750
    assert words.isdisjoint(COMMON_NAMES)
