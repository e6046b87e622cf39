"""`report.html` of the demonstration: one page without scripts or network, pictures inside, every result called AI."""

from __future__ import annotations

import base64
import datetime as dt
import html
import io
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import highdicom as hd
import matplotlib
import numpy as np
import pydicom
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inference.contrasts import select_series
from inference.series_header import header_of
from inference.volumes import load_volume
from longitudinal.types import Contrast, Region
from timepoint.demonstration import Demonstration

matplotlib.use("Agg")
LABEL = "AI result - not verified by a reader"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1b2530; background: #fff; margin: 2rem auto;
  max-width: 76rem; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
.note { background: #fff6dd; border-left: 4px solid #b07a00; padding: .5rem .8rem; margin: 1rem 0 }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #d9dfe5; vertical-align: top }
th { font-weight: 600; background: #f3f5f7 } td.n { text-align: right } img { max-width: 100%; height: auto }
figure { margin: 1rem 0 } figcaption { color: #52606d; font-size: .9rem } .muted { color: #52606d }
"""
_SHOWN = ("whole", "core", "enhancing", "oedema")
_COLOURS = {"necrotic": "#e0b000", "edema": "#3ba3d0", "oedema": "#3ba3d0", "enhancing": "#d1344b", "whole": "#ffffff"}


def write_report(demo: Demonstration) -> Path:
    """Write the page from what came back to the PACS and from `summary.json`'s entries."""
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Timepoint demonstration</title>"
        f"<style>{_STYLE}</style><h1>Timepoint demonstration</h1><p class='note'><strong>{LABEL}.</strong> "
        "Simulated or supplied studies went through the gateway over DICOM; the pictures show the segmentation that "
        "came back to the PACS. Forecasts are model output, not measurements; the forecaster was trained on synthetic "
        "histories, and on real treated glioma it did not beat the last value.</p>"
    ]
    returned = _segmentations(demo.out / "pacs")
    for patient, group in groupby(demo.studies, key=lambda e: str(e["patient_key"])):
        entries = list(group)
        parts.append(f"<h2>Patient {html.escape(patient)}</h2>")
        parts.append(_figure(_curve(entries), "Volume over time and forecast with its interval."))
        slices = _slices(demo, entries, returned)
        if slices is not None:
            caption = "Slice with the largest tumour area at each time point, T1 after contrast; contours from the SEG."
            parts.append(_figure(slices, caption))
        parts.append(_table(entries))
    timings = ", ".join(f"{html.escape(k)} {v:.1f} s" for k, v in demo.seconds.items())
    parts.append(f"<h2>Time</h2><p class='muted'>{timings}</p>")
    file = demo.out / "report.html"
    file.write_text("".join(parts), encoding="utf-8")
    return file


def _figure(figure: Figure, caption: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    return f"<figure><img alt='{text}' src='data:image/png;base64,{data}'><figcaption>{text}</figcaption></figure>"


def _days(entries: Sequence[dict[str, Any]]) -> list[int]:
    dates = [dt.date.fromisoformat(e["acquired"]) for e in entries]
    return [(date - dates[0]).days for date in dates]


def _curve(entries: Sequence[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots()
    days = _days(entries)
    totals = [sum(m["volumes_ml"][m["target"]] for m in e["lesions"]) for e in entries]
    axes.plot(days, totals, "o-", color="#17324d", label="measured, all lesions")
    known = [(d, e["truth_total_ml"][_target(e)]) for d, e in zip(days, entries, strict=True) if "truth_total_ml" in e]
    if known:
        axes.plot(*zip(*known, strict=True), "x", color="#7a7a7a", label="simulated truth")
    _fan(axes, entries[-1], days[-1], totals[-1])
    axes.set_xlabel("days since the first study")
    axes.set_ylabel("volume (ml)")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)  # beside the curve
    axes.set_title(LABEL, fontsize=9, loc="right", color="#8a5a00")
    return figure


def _target(entry: dict[str, Any]) -> str:
    return str(entry["lesions"][0]["target"]) if entry["lesions"] else Region.WHOLE.value


def _fan(axes: Axes, entry: dict[str, Any], day: int, last_ml: float) -> None:
    points = entry["forecast"]
    if not points:
        return
    at = [day, *(day + p["horizon_days"] for p in points)]
    axes.plot(at, [last_ml, *(p["median_ml"] for p in points)], "--", color="#7b4fa3", label="forecast, median")
    axes.fill_between(
        at,
        [last_ml, *(p["lower_ml"] for p in points)],
        [last_ml, *(p["upper_ml"] for p in points)],
        color="#7b4fa3",
        alpha=0.18,
        label=f"forecast, {points[0]['coverage']:.0%} interval",
    )


def _segmentations(folder: Path) -> dict[str, pydicom.Dataset]:
    found: dict[str, pydicom.Dataset] = {}
    for file in sorted(folder.glob("*.dcm")):
        header = pydicom.dcmread(file, stop_before_pixels=True)
        if header.Modality == "SEG":
            found[str(header.StudyInstanceUID)] = hd.seg.segread(file)
    return found


def _slices(
    demo: Demonstration, entries: Sequence[dict[str, Any]], returned: dict[str, pydicom.Dataset]
) -> Figure | None:
    shown = [e for e in entries if e["study_instance_uid"] in returned]
    if not shown:
        return None
    figure = Figure(figsize=(3.1 * len(shown), 3.4), facecolor="black")
    for axes, entry in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
        uid = entry["study_instance_uid"]
        _draw_slice(axes, demo.sources[uid], returned[uid])
        axes.set_title(f"{entry['acquired']}  {entry.get('response', '')}", color="white", fontsize=9)
        axes.axis("off")
    return figure


def _draw_slice(axes: Axes, files: Sequence[Path], segmentation: Any) -> None:
    headers = [(header_of(pydicom.dcmread(f, stop_before_pixels=True)), f) for f in files]
    wanted = select_series([h for h, _ in headers])
    reference = wanted.get(Contrast.T1C) or wanted[Contrast.FLAIR]
    image = load_volume([f for h, f in headers if h.series_uid == reference]).volume
    masks = {
        segment.SegmentLabel: segmentation.get_volume(segment_numbers=[segment.SegmentNumber], combine_segments=True)
        .match_geometry(image)
        .array
        > 0
        for segment in segmentation.SegmentSequence
    }
    total = np.any(list(masks.values()), axis=0)
    k = int(total.sum(axis=(1, 2)).argmax())
    low, high = np.percentile(image.array, [1, 99.7])
    aspect = image.spacing[1] / image.spacing[2]
    axes.imshow(image.array[k], cmap="gray", vmin=low, vmax=high, aspect=aspect)
    for label, mask in masks.items():
        colour = next((c for name, c in _COLOURS.items() if name in label.lower()), "#9be28f")
        if mask[k].any():
            axes.contour(mask[k], levels=[0.5], colors=[colour], linewidths=1.0)


def _table(entries: Sequence[dict[str, Any]]) -> str:
    columns = (
        "acquired",
        "lesion",
        "whole ml",
        "core ml",
        "enhancing ml",
        "oedema ml",
        "response",
        "forecast",
        "state",
    )
    head = "<tr>" + "".join(f"<th>{name}" for name in columns) + "</tr>"
    rows = []
    for entry in entries:
        for number, lesion in enumerate(entry["lesions"] or [None]):
            cells = [html.escape(str(entry["acquired"]))]
            if lesion is None:
                cells += ["no lesion found by the algorithm", "", "", "", "", ""]
            else:
                volumes = lesion["volumes_ml"]
                cells += [html.escape(lesion["tracking_id"])]
                cells += [f"{volumes[r]:.1f}" for r in _SHOWN]
                cells += [html.escape(lesion["response"])]
            forecast = "<br>".join(
                f"+{p['horizon_days']} d: {p['median_ml']:.1f} ({p['lower_ml']:.1f} to {p['upper_ml']:.1f})"
                for p in entry["forecast"]
            )
            forecast = forecast or html.escape(entry.get("forecast_abstained") or "-")
            cells += [forecast if number == 0 else "", html.escape(entry["state"])]
            rows.append("<tr>" + "".join(f"<td>{c}" for c in cells) + "</tr>")
    return f"<table>{head}{''.join(rows)}</table>"
