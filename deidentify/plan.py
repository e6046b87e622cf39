"""The plan of a SOP class: what happens at every attribute path of its IOD. Paths that are missing are denied."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword

from deidentify.profile import Profile
from deidentify.rules import Action, decide
from deidentify.tables import iods

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"

# Attributes that scanners send beyond the IOD and that volumetry or diffusion needs (reviewed): numbers and terms in
# classic MR, and numbers that some send at the root of Enhanced MR beside the functional groups.
_SUPPLEMENT: dict[str, tuple[str, ...]] = {
    MR_IMAGE: (
        "RescaleSlope", "RescaleIntercept", "RescaleType", "DiffusionBValue", "DiffusionGradientOrientation",
        "DiffusionDirectionality", "EffectiveEchoTime", "PulseSequenceName", "AcquisitionDuration",
        "ParallelReductionFactorInPlane", "PartialFourier", "RequestedProcedureDescription", "AcquisitionContrast",
        "ComplexImageComponent", "ResonantNucleus",
    ),
    "1.2.840.10008.5.1.4.1.1.4.1": (
        "SpacingBetweenSlices", "SliceThickness", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
        "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "RescaleSlope", "RescaleIntercept",
    ),
}  # fmt: skip


# The coded entry macro (PS3.3 8.8) is cleaned as a whole by deidentify.codes; what else an item holds is walked.
_CODE_MACRO = frozenset((
    "CodeValue", "LongCodeValue", "URNCodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning",
    "ContextIdentifier", "ContextUID", "MappingResource", "MappingResourceUID", "MappingResourceName",
    "ContextGroupVersion", "ContextGroupExtensionFlag", "ContextGroupLocalVersion",
    "ContextGroupExtensionCreatorUID", "EquivalentCodeSequence",
))  # fmt: skip
_BYTES = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "AT": 4, "US or SS": 2, "UV": 8, "SV": 8}


@dataclass(eq=False)
class Rule:
    """One attribute at one path. `fallback`: what to do when nothing of the value may stay. `longest` is the number of
    bytes that the value multiplicity of a binary number allows, 0 where there is no bound."""

    keyword: str
    vr: str
    action: Action
    reason: str
    fallback: Action
    children: Plan | None = None
    longest: int = 0


@dataclass(eq=False)
class Plan:
    """The rules of one dataset or item, by tag."""

    rules: dict[int, Rule] = field(default_factory=dict)


def fallback_of(type_: str) -> Action:
    return {"1": Action.DUMMY, "1C": Action.DUMMY, "2": Action.EMPTY, "2C": Action.EMPTY}.get(type_, Action.REMOVE)


@lru_cache(maxsize=64)
def plan_for(sop_class: str, profile: Profile) -> Plan:
    """The plan of an accepted SOP class; KeyError for another."""
    table = iods()
    compiled: dict[int, Plan] = {}
    root = _compile(table.sop_classes[sop_class], compiled, profile)
    plan = Plan(dict(root.rules))
    for keyword in _SUPPLEMENT.get(sop_class, ()):
        tag = tag_for_keyword(keyword)
        if tag is not None and tag not in plan.rules:
            plan.rules[tag] = _rule(keyword, tag, ["3"], {}, profile)
    return plan


def _compile(index: int, compiled: dict[int, Plan], profile: Profile) -> Plan:
    """Nodes may hold themselves (SR content), so the plan is registered before it is filled."""
    if index not in compiled:
        plan = compiled[index] = Plan()
        node = iods().nodes[index]
        skipped = _CODE_MACRO if _is_code(node) else frozenset()
        for keyword, entry in node.items():
            tag = tag_for_keyword(keyword)  # None for the repeating groups 50xx and 60xx, which are never kept
            if tag is not None and keyword not in skipped:
                plan.rules[tag] = _rule(keyword, tag, entry, compiled, profile)
    return compiled[index]


def _is_code(node: dict[str, list[Any]]) -> bool:
    return {"CodeValue", "CodeMeaning"} <= node.keys()


def _rule(keyword: str, tag: int, entry: list[Any], compiled: dict[int, Plan], profile: Profile) -> Rule:
    vr = dictionary_VR(tag)
    type_ = entry[0]
    child = entry[1] if len(entry) > 1 else None
    is_code = child is not None and _is_code(iods().nodes[child])
    decision = decide(keyword, tag, vr, type_, is_code, profile)
    vm = dictionary_VM(tag)
    longest = _BYTES.get(vr, 0) * int(vm) if vm.isdigit() else 0
    rule = Rule(keyword, vr, decision.action, decision.reason, fallback_of(type_), None, longest)
    if decision.action in (Action.DESCEND, Action.CODE):
        if child is None:
            rule.action, rule.reason = Action.REMOVE, "sequence without a defined content"
        else:
            rule.children = _compile(child, compiled, profile)
    return rule
