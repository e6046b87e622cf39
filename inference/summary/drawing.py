"""The summary page drawn: 1280 x 1024, light on black as diagnostic monitors want it, legible in greyscale.

Nothing is told by colour alone: the two contours differ in line (solid, dashed), the forecast is hatched and dashed,
and every line has a dark seam against bright tissue.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, withStroke
from matplotlib.text import Text

from inference.summary.content import KeySlice, SummaryPage
from inference.summary.fonts import font_families, language_to_set
from inference.summary.words import WORDS, Language, Words
from longitudinal.record import RecordedTimePoint
from longitudinal.types import Change, Reference

WIDTH, HEIGHT, DPI = 1280, 1024, 100
NORMAL_95 = 1.96
MOST_ROWS = 9
_SEAM = [withStroke(linewidth=3.5, foreground="black"), Normal()]
_WHITE, _GREY, _WHOLE, _TARGET, _FORECAST = "#ffffff", "#b8b8b8", "#9fdcff", "#ffc04d", "#ffd9a0"


def draw_image(page: SummaryPage, language: Language) -> npt.NDArray[np.uint8]:
    """The page as RGB pixels, (1024, 1280, 3). Set in English where the font of `language` is not installed."""
    figure = _figure(page, language)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    return np.asarray(pixels)[:, :, :3].copy()


def draw_pdf(page: SummaryPage, language: Language) -> bytes:
    """The page as PDF with its fonts inside; the same page gives the same bytes."""
    out = io.BytesIO()
    metadata = {"CreationDate": None, "ModDate": None, "Producer": "Timepoint", "Title": "Timepoint summary"}
    _figure(page, language).savefig(out, format="pdf", facecolor="black", metadata=metadata)
    return out.getvalue()


def _figure(page: SummaryPage, language: Language) -> Figure:
    spoken = language_to_set(language)
    words = WORDS[spoken]
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor="black")
    _heading(figure, page, words)
    _slices(figure, page, words)
    _curve(figure.add_axes((0.065, 0.175, 0.41, 0.32)), page, words)
    _table(figure, page, words)
    _notes(figure, page, words, language is not spoken)
    families = font_families(spoken)
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_parse_math(False)
            text.set_fontfamily(families)
    return figure


def _heading(figure: Figure, page: SummaryPage, words: Words) -> None:
    result = page.result
    figure.text(0.02, 0.962, words.title, color=_WHITE, fontsize=19, weight="bold", va="center")
    number = f"{words.date} {result.timepoint.acquired.isoformat()}   #{result.timepoint.order}"
    figure.text(0.02, 0.928, number, color=_GREY, fontsize=12, va="center")
    box = {"facecolor": "black", "edgecolor": _WHITE, "linewidth": 2, "boxstyle": "square,pad=0.45"}
    banner = words.not_verified + (f"  |  {words.preliminary}" if result.preliminary else "")
    figure.text(0.98, 0.952, banner, color=_WHITE, fontsize=16, weight="bold", ha="right", va="center", bbox=box)


def _slices(figure: Figure, page: SummaryPage, words: Words) -> None:
    side = 0.232
    for place, shown in enumerate(page.slices):
        axes = figure.add_axes((0.02 + place * 0.244, 0.585, side, side * WIDTH / HEIGHT))
        axes.set_axis_off()
        caption = f"{shown.acquired.isoformat()}   {words.number(shown.volume_ml)} ml"
        figure.text(0.02 + place * 0.244, 0.893, caption, color=_WHITE, fontsize=12.5, va="center")
        _key_slice(axes, shown)
    if page.slices:
        target = words.regions[page.result.target]
        for offset, line, colour, name in ((0.02, "-", _WHOLE, words.whole), (0.3, "--", _TARGET, target)):
            if name == words.whole and line == "--":
                continue  # the whole tumour is the target: one contour tells both
            axes = figure.add_axes((offset, 0.557, 0.04, 0.02))
            axes.set_axis_off()
            axes.plot([0, 1], [0, 0], line, color=colour, linewidth=2.5)
            figure.text(offset + 0.047, 0.567, name, color=_WHITE, fontsize=11, va="center")


def _key_slice(axes: Axes, shown: KeySlice) -> None:
    if shown.image is None or shown.whole is None or shown.target is None:
        axes.text(0.5, 0.5, "-", color=_GREY, fontsize=20, ha="center", va="center", transform=axes.transAxes)
        return
    axes.imshow(
        shown.image,
        cmap="gray",
        vmin=0,
        vmax=1,
        aspect=shown.spacing_mm[0] / shown.spacing_mm[1],
        interpolation="bilinear",
    )
    contours = [(shown.whole, "solid", _WHOLE)]
    if not np.array_equal(shown.whole, shown.target):
        contours.append((shown.target, "dashed", _TARGET))
    for mask, line, colour in contours:
        if mask.any() and not mask.all():
            drawn = axes.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=1.8, linestyles=line)
            drawn.set_path_effects(_SEAM)


def _curve(axes: Axes, page: SummaryPage, words: Words) -> None:
    axes.set_facecolor("black")
    days = [point.context.days_from_baseline for point in page.points]
    volumes = [point.total_ml for point in page.points]
    errors = [NORMAL_95 * point.total_sd_ml for point in page.points]
    lower = [min(error, volume) for error, volume in zip(errors, volumes, strict=True)]
    axes.errorbar(
        days, volumes, yerr=[lower, errors], fmt="o-", color=_WHITE, capsize=4, linewidth=2, markersize=6,
        label=words.measured,
    )  # fmt: skip
    forecast = page.result.forecast
    if forecast is not None and forecast.points and days:
        start = days[-1]
        ahead = [start] + [start + p.horizon_days for p in forecast.points]
        first = forecast.last_observed_ml
        low = [first] + [p.lower_ml for p in forecast.points]
        high = [first] + [p.upper_ml for p in forecast.points]
        coverage = words.number(100 * forecast.points[0].coverage, 0)
        axes.fill_between(
            ahead, low, high, facecolor="#3a3a3a", edgecolor=_FORECAST, hatch="///", linewidth=0.8,
            label=words.interval.format(coverage=coverage),
        )  # fmt: skip
        middle = [first] + [p.median_ml for p in forecast.points]
        axes.plot(ahead, middle, "--", color=_FORECAST, linewidth=2.5, marker="D", markersize=5, label=words.forecast)
        axes.axvline(start, color=_GREY, linestyle=":", linewidth=1.2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(words.days_axis, color=_WHITE, fontsize=11)
    axes.set_ylabel(f"{words.volume_axis}", color=_WHITE, fontsize=11)
    axes.set_title(words.regions[page.result.target], color=_WHITE, fontsize=12, loc="left")
    axes.tick_params(colors=_WHITE, labelsize=10)
    axes.grid(color="#404040", linewidth=0.6)
    for edge in axes.spines.values():
        edge.set_color(_GREY)
    figure = axes.get_figure(root=True)
    if figure is not None:
        look = {"fontsize": 10, "facecolor": "black", "edgecolor": _GREY, "labelcolor": _WHITE}
        figure.legend(loc="lower left", bbox_to_anchor=(0.5, 0.14), **look)


def _table(figure: Figure, page: SummaryPage, words: Words) -> None:
    columns = (0.505, 0.61, 0.705, 0.79, 0.865)
    head = (words.date, words.volume, words.from_baseline, words.from_nadir, words.response)
    rows: list[Sequence[str]] = [_row(point, words) for point in page.points[-MOST_ROWS:]]
    y = 0.512
    for cells, weight, colour in [(head, "bold", _GREY), *((row, "normal", _WHITE) for row in rows)]:
        for x, cell in zip(columns, cells, strict=True):
            figure.text(
                x, y, cell, color=colour, fontsize=9.5 if weight == "bold" else 10.5, weight=weight, va="center"
            )
        y -= 0.024
    y -= 0.012
    for line in (words.lesions, *_lesion_lines(page, words)):
        heading = line is words.lesions
        figure.text(0.505, y, line, color=_GREY if heading else _WHITE, fontsize=10, va="center",
                    weight="bold" if heading else "normal")  # fmt: skip
        y -= 0.023


def _row(point: RecordedTimePoint, words: Words) -> Sequence[str]:
    changes = {change.reference: change for change in point.changes}
    volume = f"{words.number(point.total_ml)} ± {words.number(NORMAL_95 * point.total_sd_ml)}"
    against = [_percent(changes.get(reference), words) for reference in (Reference.BASELINE, Reference.NADIR)]
    return (point.context.acquired.isoformat(), volume, *against, words.responses[point.response])


def _percent(change: Change | None, words: Words) -> str:
    if change is None or change.relative is None:
        return "·"
    return f"{words.number(100 * change.relative, 0, sign=True)} %" + ("" if change.reliable else " (n.s.)")


def _lesion_lines(page: SummaryPage, words: Words) -> list[str]:
    found = [lesion for lesion in page.result.lesions if lesion.measurement is not None]
    if not found:
        return [words.no_lesion]
    lines = []
    for lesion in found[:5]:
        measured = lesion.measurement
        size = f"{words.number(lesion.volume_ml(page.result.target))} ml"
        if measured is not None and measured.longest and measured.perpendicular:
            longest, short = measured.longest.length_mm, measured.perpendicular.length_mm
            size += f"   {words.number(longest, 0)} x {words.number(short, 0)} mm"
        lines.append(f"{lesion.tracking_id}:  {size}   {words.responses[lesion.response]}")
    return [*lines, f"... (+{len(found) - 5})"] if len(found) > 5 else lines


def _notes(figure: Figure, page: SummaryPage, words: Words, fallen_back: bool) -> None:
    result = page.result
    forecast = result.forecast
    lines = [words.imaging_only]
    if forecast is not None and forecast.points:
        lines.append(words.forecast_banner)
    elif forecast is not None and forecast.abstained:
        lines.append(f"{words.no_forecast}: {forecast.abstained}")
    lines += result.warnings
    if fallen_back:
        lines.append("The font for the configured language is not installed; this page is in English.")
    y = 0.098
    for line in lines[:4]:
        cut = line if len(line) <= 165 else line[:162] + "..."
        figure.text(0.02, y, f"• {cut}", color=_WHITE, fontsize=10, va="center")
        y -= 0.0205
    model = f"{words.software}: {page.software}; {result.segmentation.name} {result.segmentation.version}"
    if forecast is not None:
        model += f"; {forecast.model.name} {forecast.model.version}"
    figure.text(0.02, 0.012, model, color=_GREY, fontsize=9, va="center")
    figure.text(0.98, 0.012, words.not_verified, color=_WHITE, fontsize=10, ha="right", va="center", weight="bold")
