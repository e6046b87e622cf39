"""Fonts of the summary page: DejaVu Sans (part of matplotlib), and IPAexGothic for Japanese where it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from matplotlib.font_manager import FontProperties, fontManager

from inference.summary.words import Language

JAPANESE_PACKAGE = "matplotlib_fontja"
"""PyPI `matplotlib-fontja`: IPAexGothic under the IPA Font Licence, 4 MB."""


def japanese_font() -> Path | None:
    """The font file for Japanese, None where the package is not installed."""
    found = find_spec(JAPANESE_PACKAGE)
    for folder in found.submodule_search_locations or () if found else ():
        fonts = sorted(Path(folder).rglob("ipaexg.ttf"))
        if fonts:
            return fonts[0]
    return None


def font_families(language: Language) -> list[str]:
    """The families to set a language in, the next one for what the first lacks."""
    font = japanese_font() if language is Language.JAPANESE else None
    if font is None:
        return ["DejaVu Sans"]
    fontManager.addfont(font)
    return [FontProperties(fname=str(font)).get_name(), "DejaVu Sans"]


def language_to_set(wanted: Language) -> Language:
    """The language that the page can be set in: English where the font of the wanted one is missing."""
    if wanted is Language.JAPANESE and japanese_font() is None:
        return Language.ENGLISH
    return wanted
