"""Our own text in objects that use the character set of the source.

The source may be plain ASCII or any ISO 2022 set, and every string of an object is encoded with it; ours must
survive all of them, so it is reduced to ASCII (PS3.5 6.1.2: the default repertoire is in every set).
"""

from __future__ import annotations

import unicodedata

_REPLACED = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "±": "+/-", "×": "x", "≥": ">=", "≤": "<=", "²": "2", "³": "3", "µ": "u"}
    | {"’": "'", "‘": "'", "“": '"', "”": '"', "…": "...", "°": " deg", "\\": "/"}
)


def plain(text: str) -> str:
    """`text` in ASCII: typographic signs spelled out, accents dropped, anything else as `?`."""
    spelled = unicodedata.normalize("NFKD", text.translate(_REPLACED))
    kept = "".join(character for character in spelled if not unicodedata.combining(character))
    return kept.encode("ascii", "replace").decode()


def long_string(text: str) -> str:
    """`text` as a value of VR LO: ASCII, at most 64 characters."""
    return plain(text)[:64]


def number(value: float) -> str:
    """A number for a sentence: three significant digits, at least two decimals below 10."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
