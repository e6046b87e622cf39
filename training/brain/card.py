"""The model card of the brain extraction network."""

from __future__ import annotations

from typing import Any


def model_card(card: dict[str, Any]) -> str:
    """Markdown for `README.md` of the model folder."""
    training = card["training"]
    return f"""# {card["name"]} {card["version"]}: brain extraction

A 3-D U-Net that finds the brain (ventricles and sulci included, skull, meninges and outer CSF not) in one MR image of
any contrast at 3 mm.

## Training
{training["steps"]} synthetic images, {training["minutes_on_one_cpu_thread"]} minutes on one CPU thread
(`python -m training.brain.train`). No real MR image was used: every image was made from {len(training["maps"])} public
whole-head label maps (SynthSeg `training_label_maps`, Apache-2.0) and {training["simulated_heads"]} heads of
`training.simulate` (MNI152 brain, ICBM 2009a, in a made skull and face), with random anatomy, contrast, tumours, bias
field, slice thickness, noise and field of view. Their hashes are in `model.json`.

## Limits
- Few heads: anatomy far from a healthy adult's (infants, craniectomy, very large tumours that reach the surface) is
  represented by deformation and painted lesions only.
- Edges are as sharp as a 3 mm grid allows; the mask serves registration and segmentation, not brain volumetry.
- Not a medical device; for research.

Licence: {card["licence"]}. Cite: Billot et al., SynthSeg, arXiv:2107.09559.
"""
