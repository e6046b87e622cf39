"""The model card of the series contrast network."""

from __future__ import annotations

from typing import Any


def model_card(card: dict[str, Any]) -> str:
    """Markdown for `README.md` of the model folder."""
    training = card["training"]
    rows = "\n".join(
        f"| {name} | {found['images']} | {found['right']:.3f} | {found['wrong']:.3f} | {found['abstained']:.3f} |"
        for name, found in card["held_out_synthetic"].items()
    )
    limits = ", ".join(f"{name} {value}" for name, value in card["thresholds"].items())
    return f"""# {card["name"]} {card["version"]}: the contrast of a series from its pixels

A small 3-D network that sees the head in one MR series at 4 mm and says T1, T1 after contrast agent, T2, FLAIR or
other. It is asked only where the header of a series does not settle the contrast, and answers only above a probability
({limits}); below it, it abstains and the study goes to a person.

## Training
{training["images"]} synthetic images, {training["minutes_on_one_cpu_thread"]} minutes on one CPU thread
(`python -m training.contrast.train`). No real MR image was used: every image was made from {len(training["maps"])}
public whole-head label maps (SynthSeg `training_label_maps`, Apache-2.0) and {training["simulated_heads"]} heads of
`training.simulate`, with random anatomy, tissue levels, tumours, enhancement, fat suppression, skull stripping, bias
field, slice thickness, noise and field of view. Their hashes are in `model.json`.

## On synthetic images of heads that were held out
| contrast | images | right | wrong | abstained |
|---|---|---|---|---|
{rows}

The thresholds were set on other images of the same held-out heads.

## Limits
- What contrast agent does outside a tumour (sinuses, dura, mucosa) is imitated coarsely: T1 with and without contrast
  is where it abstains most.
- Few heads, synthetic only. Not a medical device; for research.

Licence: {card["licence"]}. Cite: Billot et al., SynthSeg, arXiv:2107.09559.
"""
