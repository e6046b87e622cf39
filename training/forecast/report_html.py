"""The evaluation as one self-contained page: figures in words and tables first, plots beside them."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inference.forecast.calibration import GRID_DAYS, HORIZON_BINS
from training.forecast.baselines import POINT_METHODS

_METHODS = {
    "model": "this model",
    "population_prior": "population prior",
    "last_value": "last value",
    "linear_all": "line, all scans",
    "linear_last3": "line, last 3",
    "log_linear_last3": "log line, last 3",
}
_COLOURS = {"model": "#1b6e8a", "population_prior": "#7fb3c8", "last_value": "#c98a2b"}
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1d2b33}
table{border-collapse:collapse;margin:.6rem 0 1.4rem}
td,th{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #d9e0e4}
th:first-child,td:first-child{text-align:left}tr.model{font-weight:600}svg{max-width:100%;height:auto}
.bad{color:#a3281e;font-weight:600}.good{color:#1f6f43}.note{color:#52646e}
"""


def render(report: Mapping[str, Any]) -> str:
    """The page for a report of `evaluate`; it loads nothing from elsewhere."""
    data, model = report["data"], report["model"]
    parts = [
        f"<h1>Forecaster {_text(model['name'])} {_text(model['version'])}</h1>",
        f"<p>{data['patients']} patients, {data['windows']} pairs of scans without surgery between them"
        f" ({data['windows_left_out_for_surgery']} with surgery left out). {_text(_subset(data))}</p>",
        _verdict(report),
        "<h2>Error by horizon</h2>",
        "<p class=note>ml against the measured volume. No forecast can be better than the floor, the error of the "
        "measurement itself. CRPS judges the whole interval; smaller is better.</p>",
        _figure(_error_plot, report),
        *(
            _horizon_table(name, report["horizons"][name])
            for name in ("all", *HORIZON_BINS)
            if name in report["horizons"]
        ),
        "<h2>By tumour type</h2>",
        _type_table(report["types"]),
        "<h2>Are the intervals right?</h2>",
        _figure(_calibration_plot, report),
        f"<p>The interval never gets narrower with the horizon in "
        f"{100 * report['calibration']['width_never_falls']:.1f} % of forecasts.</p>",
        "<h2>By number of scans known</h2>",
        _scans_table(report["scans_known"]),
        "<h2>Six patients, drawn at random</h2>",
        _figure(_example_plot, report),
        *_claims(report.get("acceptance")),
        _latency(report),
        f"<p class=note>Weights {_text(model['weights_sha256'])}, calibration {_text(model['calibration_id'])}.</p>",
    ]
    body = "\n".join(parts)
    head = f"<meta charset=utf-8><title>Forecaster</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang=en>{head}{body}</html>\n"


def _text(value: Any) -> str:
    return html.escape(str(value))


def _subset(data: Mapping[str, Any]) -> str:
    source = data.get("source", {})
    kind = {"synthetic": "Simulated histories", "public": "A public cohort", "site-export": "Histories of this site"}
    named = kind.get(source.get("kind", ""), "Histories")
    return f"{named}: {data['subset']}." if "subset" in data else f"{named}."


def _verdict(report: Mapping[str, Any]) -> str:
    against = report["horizons"]["all"]["against"]["last_value"]
    lines = []
    for name, label in (("mae_ml", "mean absolute error"), ("crps_ml", "CRPS")):
        value, low, high = (100 * v for v in against[name]["relative"])
        better, worse = high < 0, low > 0
        word = "lower than" if better else "higher than" if worse else "not shown to differ from"
        css = "good" if better else "bad" if worse else "note"
        lines.append(
            f"<p class={css}>The {label} is {word} that of the last value: {value:+.1f} % "
            f"(95 % {low:+.1f} to {high:+.1f}).</p>"
        )
    value, low, high = report["calibration"]["coverage"]
    css = "good" if 0.88 <= value <= 0.92 else "bad"
    lines.append(
        f"<p class={css}>The 90 % interval holds {100 * value:.1f} % of measured volumes "
        f"(95 % {100 * low:.1f} to {100 * high:.1f}; wanted 88 to 92).</p>"
    )
    return "".join(lines)


def _horizon_table(name: str, part: Mapping[str, Any]) -> str:
    low, high = HORIZON_BINS.get(name, (7, 412))
    floor = f", floor {part['floor_mae_ml']} ml" if "floor_mae_ml" in part else ""
    head = (
        f"<h3>{low} to {high - 1} days: {part['windows']} pairs of {part['patients']} patients, "
        f"mean {part['mean_volume_ml']} ml, median {part['median_volume_ml']} ml{floor}</h3>"
    )
    columns = ["mae_ml", "crps_ml", "r2", "r2_of_change", "coverage", "median_width_ml"]
    labels = ["MAE", "CRPS", "R2", "R2 of change", "coverage", "median width"]
    if "floor_mae_ml" in part:
        columns.insert(1, "mae_latent_ml")
        labels.insert(1, "MAE, true volume")
    rows = [
        [label, *(part["methods"][method][column] for column in columns)]
        for method, label in _METHODS.items()
        if method in part["methods"]
    ]
    return head + _table(["", *labels], rows, strong=0)


def _type_table(types: Mapping[str, Any]) -> str:
    rows = []
    for kind, horizons in types.items():
        for name, part in horizons.items():
            value, low, high = (100 * v for v in part["mae_against_last_value"])
            mae = part["mae_ml"]
            covered = part["coverage"]
            rows.append(
                [
                    f"{kind}, {name}",
                    part["windows"],
                    part["mean_volume_ml"],
                    mae["last_value"],
                    mae["population_prior"],
                    mae["model"],
                    f"{value:+.0f} % [{low:+.0f}, {high:+.0f}]",
                    f"{covered[0]:.3f} [{covered[1]:.3f}, {covered[2]:.3f}]",
                ]
            )
    return _table(["", "pairs", "mean ml", "last value", "prior", "model", "change of MAE", "coverage"], rows)


def _scans_table(groups: Mapping[str, Any]) -> str:
    rows = [
        [name, part["windows"], part["mae_ml"]["last_value"], part["mae_ml"]["model"], part["coverage"][0]]
        for name, part in groups.items()
    ]
    return _table(["scans", "pairs", "last value MAE", "model MAE", "coverage"], rows)


def _claims(acceptance: Mapping[str, Any] | None) -> list[str]:
    """The claims on the frozen simulated cohorts with their limits; nothing where they were not measured."""
    if acceptance is None:
        return []
    rows = [
        [
            _text(name),
            f"{c['value']:.3g}",
            _text(c["limit"]),
            "passed" if c["passed"] else f"missed by {c['missed_by']:.3g}",
        ]
        for name, c in acceptance["claims"].items()
    ]
    return [
        "<h2>Claims on the frozen cohorts</h2>",
        "<p class=note>SURV-REF-1 (T1, against the simulator's latent truth) and MIX-REF-1 (T2 to T4).</p>",
        _table(["claim", "value", "limit", ""], rows),
    ]


def _latency(report: Mapping[str, Any]) -> str:
    if "latency_ms" not in report:
        return ""
    found = report["latency_ms"]
    return f"<p>One forecast takes {found['p50']} ms (median; 99 % within {found['p99']} ms) on one CPU thread.</p>"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], strong: int | None = None) -> str:
    lines = ["<table><tr>" + "".join(f"<th>{_text(cell)}</th>" for cell in head) + "</tr>"]
    for number, row in enumerate(rows):
        css = " class=model" if number == strong else ""
        lines.append(f"<tr{css}>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>")
    return "".join(lines) + "</table>"


def _figure(draw: Any, report: Mapping[str, Any]) -> str:
    figure: Figure = draw(report)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _error_plot(report: Mapping[str, Any]) -> Figure:
    names = [name for name in HORIZON_BINS if name in report["horizons"]]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, 2)
    for axis, score, title in zip(axes, ("mae_ml", "crps_ml"), ("MAE, ml", "CRPS, ml"), strict=True):
        for method in ("last_value", "population_prior", "model", *POINT_METHODS[1:2]):
            values = [report["horizons"][name]["methods"][method][score] for name in names]
            axis.plot(names, values, "o-", label=_METHODS[method], color=_COLOURS.get(method, "#b9c2c7"))
        if score == "mae_ml" and all("floor_mae_ml" in report["horizons"][name] for name in names):
            floor = [report["horizons"][name]["floor_mae_ml"] for name in names]
            axis.plot(names, floor, "k:", label="floor of the measurement")
        axis.set_ylim(bottom=0)
        axis.set_title(title)
        axis.set_xlabel("horizon")
    axes[0].legend(fontsize=8)
    return figure


def _calibration_plot(report: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    calibration = report["calibration"]
    left.plot([0, 1], [0, 1], color="#b9c2c7")
    left.plot(calibration["levels"], calibration["observed"], "o-", color=_COLOURS["model"])
    left.set_xlabel("stated probability")
    left.set_ylabel("observed share")
    cells = [
        (f"{kind} {name}", *part["coverage"])
        for kind, horizons in report["types"].items()
        for name, part in horizons.items()
        if name != "all"
    ]
    for row, (_, value, low, high) in enumerate(cells):
        right.plot([low, high], [row, row], color=_COLOURS["model"])
        right.plot(value, row, "o", color=_COLOURS["model"], markersize=4)
    right.axvspan(0.88, 0.92, color="#dfeee6")
    right.set_yticks(range(len(cells)), [cell[0] for cell in cells], fontsize=6)
    right.set_xlabel("coverage of the 90 % interval")
    return figure


def _example_plot(report: Mapping[str, Any]) -> Figure:
    examples = report["examples"]
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    panels = figure.subplots(2, 3, squeeze=False).ravel()
    for axis, example in zip(panels, examples, strict=False):
        start = example["forecast_from_day"]
        days = [start + day for day in GRID_DAYS]
        quantiles = list(zip(*example["quantiles_ml"], strict=True))
        axis.fill_between(days, quantiles[0], quantiles[-1], color="#d5e7ee")
        axis.fill_between(days, quantiles[2], quantiles[4], color="#a8cddb")
        axis.plot(days, quantiles[3], color=_COLOURS["model"])
        axis.plot(example["days"], example["volume_ml"], "ko-", markersize=3, linewidth=0.7)
        axis.axvline(start, color="#c98a2b", linewidth=0.8)
        axis.set_title(f"{example['tumour_type']}, ml by day", fontsize=8)
        axis.set_ylim(bottom=0)
    for axis in panels[len(examples) :]:
        axis.set_axis_off()
    return figure
