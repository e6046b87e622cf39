"""Another way to a first match: SimpleITK's Mattes mutual information from the centres of mass, to a few millimetres.

Used where the fast search gives no plausible match; its result is refined by the fast way. One thread and a fixed
seed make it repeatable.
"""

# SimpleITK is annotated in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from highdicom import Volume

from inference.contracts import Matrix
from inference.resampling import to_image


def register_by_simpleitk(fixed: Volume, moving: Volume) -> Matrix | None:
    """Rigid match of two images, or None where the method finds no valid point at all.

    Returns:
        The map of LPS of `fixed` to LPS of `moving`.
    """
    fixed_image, moving_image = _at_2_mm(to_image(fixed)), _at_2_mm(to_image(moving))
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.2, 42)
    method.MetricUseFixedImageGradientFilterOff()
    method.MetricUseMovingImageGradientFilterOff()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 1e-3, 150, relaxationFactor=0.7)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2])
    method.SetSmoothingSigmasPerLevel([2])
    centred = sitk.CenteredTransformInitializer(
        fixed_image, moving_image, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    method.SetInitialTransform(centred, inPlace=True)
    try:
        method.Execute(fixed_image, moving_image)
    except RuntimeError:  # SimpleITK's only error class: all points left the image on the way
        return None
    return _matrix_of(centred)


def _matrix_of(transform: sitk.Transform) -> Matrix:
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix: Matrix = np.eye(4)
    for axis in range(3):
        matrix[:3, axis] = np.array(transform.TransformPoint([float(i == axis) for i in range(3)])) - origin
    matrix[:3, 3] = origin
    return matrix


def _at_2_mm(image: sitk.Image) -> sitk.Image:
    factors = [max(1, min(round(2.0 / s), n // 4)) for s, n in zip(image.GetSpacing(), image.GetSize(), strict=True)]
    shrunk: sitk.Image = sitk.BinShrink(image, factors)
    return shrunk
