"""The model card of the segmentation network."""

from __future__ import annotations

from typing import Any

from longitudinal.types import Region


def model_card(card: dict[str, Any]) -> str:
    """Markdown for `README.md` of the model folder; the results are those in the card's `metrics`."""
    training = card["training"]
    return f"""# {card["name"]} {card["version"]}: brain tumour compartments

A 3-D U-Net at {card["spacing_mm"]} mm over the brain. Input channels in this order: {", ".join(card["channels"])};
{card["normalisation"]}. Output: softmax over background, necrotic or non-enhancing core (1), oedema (2),
enhancing tumour (3), resection cavity (4).

## Training
{training["steps"]} steps ({training["batch"]} patches each, whole brains at the end), {training["minutes"]} minutes on
{training["device"]} (`python -m training.segmentation.train`). {training.get("remark", "")}
**No real MR image was used.** {_heads(training)}
Two sets of tumours were grown in each head. Signal levels, texture, bias field, noise, slice thickness (1-6.5 mm, any
plane), residual misregistration, brain mask errors and missing contrasts are randomised.

## Results
{_results(card.get("metrics"))}

## Limits
- Few brains: cortical detail, atrophy, other pathology, and above all real tumours look different. Use a
  network trained on patients (a MONAI bundle, or the MSNet cascade) for anything but demonstrations and tests.
- Tumours that touch the skull base, the brain stem or the cerebellum, meningioma, and mass effect were not simulated.
- Not a medical device; for research.

Licence: {card["licence"]}. The ICBM 152 template: Fonov et al., NeuroImage 2011;54:313, as shipped with nilearn.
{_label_map_source(training)}"""


def _heads(training: dict[str, Any]) -> str:
    template = f"""{training["heads"]} heads are deformations of one averaged template (ICBM 152) with skull, scalp and
face built around it"""
    if not training.get("label_maps"):
        return f"{template}."
    return f"""{template}; as many are deformations of {len(training["label_maps"])} public label maps of
single people (SynthSeg `training_label_maps`)."""


def _label_map_source(training: dict[str, Any]) -> str:
    if not training.get("label_maps"):
        return ""
    return """The label maps: Billot et al., SynthSeg, Medical Image Analysis 2023;86:102789, Apache-2.0; their hashes
are in `model.json`.
"""


def _results(metrics: dict[str, Any] | None) -> str:
    if not metrics:
        return "Not evaluated yet."
    rows = [f"### {title}\n{entry['what']}\n\n{_table(entry['regions'])}" for title, entry in metrics.items()]
    return "\n\n".join(rows)


def _table(regions: dict[str, dict[str, float]]) -> str:
    lines = [
        "| region | cases | Dice mean | Dice median | volume bias ml | volume MAE ml |",
        "|---|---|---|---|---|---|",
    ]
    for name in (str(region) for region in Region):
        row = regions[name]
        cells = (f"{row[key]:.2f}" for key in ("dice_mean", "dice_median", "bias_ml", "mae_ml"))
        lines.append(f"| {name} | {row['cases']:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)
