"""Measurements as JSON: the same keys in `measurements.json` and in a stored analysis. Points are LPS mm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longitudinal.types import AlgorithmIdentity, Compartment, Diameter, LesionMeasurement, Region


def measurement_to_json(m: LesionMeasurement) -> dict[str, Any]:
    """One lesion; numbers are unrounded so that reading them back gives the same measurement."""
    return {
        "index": m.index,
        "volumes_ml": {r.value: m.volumes_ml[r] for r in Region},
        "volume_sd_ml": {r.value: m.volume_sd_ml[r] for r in Region},
        "compartments_ml": {c.value: m.compartments_ml[c] for c in Compartment},
        "centroid_lps_mm": list(m.centroid),
        "longest_diameter": _diameter_to_json(m.longest),
        "perpendicular_diameter": _diameter_to_json(m.perpendicular),
        "diameter_sop_instance_uid": m.diameter_sop_instance_uid,
        "max_3d_diameter_mm": m.max_3d_diameter_mm,
        "surface_area_mm2": m.surface_area_mm2,
        "sphericity": m.sphericity,
    }


def measurement_from_json(data: Mapping[str, Any]) -> LesionMeasurement:
    """The inverse of `measurement_to_json`."""
    return LesionMeasurement(
        index=data["index"],
        volumes_ml={r: data["volumes_ml"][r.value] for r in Region},
        volume_sd_ml={r: data["volume_sd_ml"][r.value] for r in Region},
        compartments_ml={c: data["compartments_ml"][c.value] for c in Compartment},
        centroid=_point(data["centroid_lps_mm"]),
        longest=_diameter_from_json(data["longest_diameter"]),
        perpendicular=_diameter_from_json(data["perpendicular_diameter"]),
        diameter_sop_instance_uid=data["diameter_sop_instance_uid"],
        max_3d_diameter_mm=data["max_3d_diameter_mm"],
        surface_area_mm2=data["surface_area_mm2"],
        sphericity=data["sphericity"],
    )


def identity_to_json(identity: AlgorithmIdentity) -> dict[str, Any]:
    """What computed the result."""
    return {
        "name": identity.name,
        "version": identity.version,
        "weights_sha256": identity.weights_sha256,
        "parameters": list(identity.parameters),
        "manufacturer": identity.manufacturer,
    }


def identity_from_json(data: Mapping[str, Any]) -> AlgorithmIdentity:
    """The inverse of `identity_to_json`."""
    return AlgorithmIdentity(**{**data, "parameters": tuple(data["parameters"])})


def _diameter_to_json(diameter: Diameter | None) -> dict[str, Any] | None:
    if diameter is None:
        return None
    return {
        "length_mm": diameter.length_mm,
        "start_lps_mm": list(diameter.start),
        "end_lps_mm": list(diameter.end),
    }


def _diameter_from_json(data: Mapping[str, Any] | None) -> Diameter | None:
    if data is None:
        return None
    return Diameter(_point(data["start_lps_mm"]), _point(data["end_lps_mm"]), data["length_mm"])


def _point(values: list[float]) -> tuple[float, float, float]:
    x, y, z = values
    return x, y, z
