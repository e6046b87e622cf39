"""The profile: which options of PS3.15 Annex E apply, what is described, which SOP classes may pass."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from deidentify.errors import ProfileError

OPTIONS = (
    "retain_modified_dates",
    "clean_descriptors",
    "clean_structured_content",
    "clean_graphics",
    "retain_patient_characteristics",
    "retain_safe_private",
)
PIXEL_TEXT = ("quarantine", "mask")
KNOWN: dict[str, tuple[str, ...]] = {
    "options": OPTIONS,
    "descriptors": ("attributes", "extra_words"),
    "sop_classes": ("accepted",),
    "pixels": ("text", "sample_series"),
}


@dataclass(frozen=True)
class Profile:
    """A profile as read from TOML. `load` and `default` raise `ProfileError`; a key left out keeps its default."""

    name: str
    retain_modified_dates: bool
    clean_descriptors: bool
    clean_structured_content: bool
    clean_graphics: bool
    retain_patient_characteristics: bool
    retain_safe_private: bool
    descriptors: frozenset[str]
    extra_words: frozenset[str]
    sop_classes: frozenset[str]
    pixel_text: str
    sample_series: bool

    @classmethod
    def load(cls, path: Path | str) -> Profile:
        path = Path(path)
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ProfileError(f"cannot read the profile {path}: {type(error).__name__}") from None
        return _parse(text, str(path))

    @classmethod
    @cache
    def default(cls) -> Profile:
        return _parse(_default_text(), "the default profile")


def _default_text() -> str:
    return (files("deidentify") / "data" / "default_profile.toml").read_text("utf-8")


def _parse(text: str, where: str) -> Profile:
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{where} is not TOML: {error}") from None
    _check_keys(given, ("name", *KNOWN), where, "")
    sections = tomllib.loads(_default_text())
    for section, keys in KNOWN.items():
        table = given.get(section, {})
        if not isinstance(table, dict):
            raise ProfileError(f"{where}: `{section}` must be a table, as in [{section}]")
        _check_keys(table, keys, where, f"{section}.")
        sections[section].update(table)
    options = {name: _boolean(sections["options"][name], f"options.{name}", where) for name in OPTIONS}
    if not options["clean_graphics"]:
        raise ProfileError(f"{where}: options.clean_graphics cannot be switched off: graphics are always removed")
    words = _strings(sections["descriptors"]["extra_words"], "descriptors.extra_words", where)
    return Profile(
        name=_name(given.get("name", sections["name"]), where),
        descriptors=_strings(sections["descriptors"]["attributes"], "descriptors.attributes", where),
        extra_words=frozenset(map(str.lower, words)),
        pixel_text=_choice(sections["pixels"]["text"], PIXEL_TEXT, "pixels.text", where),
        sample_series=_boolean(sections["pixels"]["sample_series"], "pixels.sample_series", where),
        sop_classes=_strings(sections["sop_classes"]["accepted"], "sop_classes.accepted", where),
        **options,
    )


def _check_keys(table: dict[str, Any], known: tuple[str, ...], where: str, prefix: str) -> None:
    for key in table:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, 1, 0.0)[0]
            raise ProfileError(f"{where}: unknown key `{prefix}{key}`; the nearest known one is `{prefix}{nearest}`")


def _boolean(value: object, name: str, where: str) -> bool:
    if not isinstance(value, bool):
        raise ProfileError(f"{where}: {name} must be true or false")
    return value


def _choice(value: object, known: tuple[str, ...], name: str, where: str) -> str:
    if not isinstance(value, str) or value not in known:
        raise ProfileError(f"{where}: {name} must be one of {', '.join(known)}")
    return value


def _name(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.isascii() or not 0 < len(value) <= 40 or "\\" in value:
        raise ProfileError(f"{where}: `name` must be 1 to 40 ASCII characters without a backslash")
    return value


def _strings(value: object, name: str, where: str) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ProfileError(f"{where}: {name} must be a list of strings")
    return frozenset(value)
