"""How much a measured volume differs when an unchanged lesion is scanned and segmented again.

Per-scan standard deviation of the natural logarithm of volume, from pairs of scans between which radiologists saw no
change (UCSF post-operative glioma, 136 pairs): robust SD of the log ratio of whole tumour 0.194 below 5 ml, 0.185 to
15 ml, 0.092 to 40 ml, 0.076 above, each divided by the square root of 2 for one scan of the two. Enhancing tumour, 55
pairs of mean volume 2.3 ml: 0.55, so 0.39 for one scan; large enhancing tumours 0.08 (semi-automatic segmentation,
RMSE 8.2 %).
"""

from __future__ import annotations

import math

import numpy as np

from longitudinal.types import Region

_WHOLE_ML = (2.5, 8.7, 24.5, 60.0)
_WHOLE_SD = (0.14, 0.13, 0.065, 0.054)
_ENHANCING_ML = (2.3, 40.0)
_ENHANCING_SD = (0.39, 0.08)
SMALLEST_SD_ML = 0.025
"""Floor in millilitres: half of the smallest lesion that is reported at all."""


def log_sd(region: Region, volume_ml: float) -> float:
    """Standard deviation of ln(volume) of one scan; between the published sizes linear in ln(volume)."""
    by_core = region in (Region.CORE, Region.ENHANCING)
    sizes, deviations = (_ENHANCING_ML, _ENHANCING_SD) if by_core else (_WHOLE_ML, _WHOLE_SD)
    return float(np.interp(math.log(max(volume_ml, 1e-3)), np.log(sizes), deviations))


def volume_sd_ml(region: Region, volume_ml: float) -> float:
    """One standard deviation of repeat measurement in millilitres."""
    return math.hypot(log_sd(region, volume_ml) * volume_ml, SMALLEST_SD_ML)
