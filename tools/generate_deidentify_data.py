"""Generate the versioned tables of `deidentify/data/` from the packages that carry the DICOM standard as data.

    python tools/generate_deidentify_data.py [--edition 2026c] [--out deidentify/data]

`annex_e_<edition>.json`: the Basic Application Level Confidentiality Profile of PS3.15 table E.1-1, from the tables
that dicom-anonymizer packages. `iods.json`: for each SOP class that is let through, the attribute paths of its IOD with
their Type (PS3.3), from highdicom. Equal sub-trees are stored once, so the recursion of SR content is a plain loop.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import highdicom
from dicomanonymizer import dicom_anonymization_databases as packaged_tables

CATEGORIES = {
    "D_TAGS": "D",
    "Z_TAGS": "Z",
    "X_TAGS": "X",
    "U_TAGS": "U",
    "Z_D_TAGS": "Z/D",
    "X_Z_TAGS": "X/Z",
    "X_D_TAGS": "X/D",
    "X_Z_D_TAGS": "X/Z/D",
    "X_Z_U_STAR_TAGS": "X/Z/U*",
}
SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.4": "mr-image",
    "1.2.840.10008.5.1.4.1.1.4.1": "enhanced-mr-image",
    "1.2.840.10008.5.1.4.1.1.7": "secondary-capture-image",
    "1.2.840.10008.5.1.4.1.1.7.2": "multi-frame-grayscale-byte-secondary-capture-image",
    "1.2.840.10008.5.1.4.1.1.7.3": "multi-frame-grayscale-word-secondary-capture-image",
    "1.2.840.10008.5.1.4.1.1.7.4": "multi-frame-true-color-secondary-capture-image",
    "1.2.840.10008.5.1.4.1.1.4.4": "legacy-converted-enhanced-mr-image",
    "1.2.840.10008.5.1.4.1.1.11.1": "grayscale-softcopy-presentation-state",
    "1.2.840.10008.5.1.4.1.1.30": "parametric-map",
    "1.2.840.10008.5.1.4.1.1.66.1": "spatial-registration",
    "1.2.840.10008.5.1.4.1.1.66.4": "segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "segmentation",
    "1.2.840.10008.5.1.4.1.1.67": "real-world-value-mapping",
    "1.2.840.10008.5.1.4.1.1.481.3": "rt-structure-set",
    "1.2.840.10008.5.1.4.1.1.88.11": "basic-text-sr",
    "1.2.840.10008.5.1.4.1.1.88.22": "enhanced-sr",
    "1.2.840.10008.5.1.4.1.1.88.33": "comprehensive-sr",
    "1.2.840.10008.5.1.4.1.1.88.34": "comprehensive-3d-sr",
    "1.2.840.10008.5.1.4.1.1.88.59": "key-object-selection-document",
}
# Modules that carry nothing which a follow-up MR study needs, and plenty of text.
UNWANTED_MODULES = (
    "clinical-trial-subject",
    "clinical-trial-study",
    "clinical-trial-series",
    "specimen",
    "overlay-plane",
    "overlay-activation",
    "graphic-annotation",
    "graphic-layer",
    "graphic-group",
    "bitmap-display-shutter",
    "icc-profile",
)
Tree = dict[str, "tuple[str, Tree]"]


def newest_edition() -> str:
    """The newest edition of table E.1-1 that the installed dicom-anonymizer packages."""
    names = [module.name for module in pkgutil.iter_modules(packaged_tables.__path__)]
    return max(name.removeprefix("dicomfields_") for name in names if name.startswith("dicomfields_"))


def annex_e(edition: str) -> dict[str, Any]:
    """Table E.1-1: `actions` by tag as `ggggeeee`, `ranges` of repeating groups [group, mask, element, mask, code]."""
    table = importlib.import_module(f"{packaged_tables.__name__}.dicomfields_{edition}")
    actions: dict[str, str] = {}
    ranges: list[list[int | str]] = []
    for category, code in CATEGORIES.items():
        for tag in getattr(table, category):
            if len(tag) == 2:
                actions[f"{tag[0]:04x}{tag[1]:04x}"] = code
            else:
                group, element, group_mask, element_mask = tag
                ranges.append([group, group_mask, element, element_mask, code])
    version = importlib.metadata.version("dicom-anonymizer")
    return {
        "edition": edition,
        "source": f"DICOM PS3.15 {edition} table E.1-1, as packaged by dicom-anonymizer {version} (BSD-3-Clause)",
        "actions": dict(sorted(actions.items())),
        "ranges": sorted(ranges, key=str),
    }


def attribute_tree(modules: Iterable[str], attributes: dict[str, list[dict[str, Any]]]) -> Tree:
    """All attributes of the modules by path; where modules disagree the stricter Type wins ("1" < "1C" < "2" ...)."""
    root: Tree = {}
    for module in modules:
        for attribute in sorted(attributes[module], key=lambda a: len(a["path"])):
            level = root
            for step in attribute["path"]:
                level = level.setdefault(step, ("3", {}))[1]
            known = level.get(attribute["keyword"], ("3", {}))
            level[attribute["keyword"]] = (min(attribute["type"], known[0]), known[1])
    return root


class Interner:
    """Stores equal nodes once. A node is `{keyword: [type]}` or `{keyword: [type, index of the child node]}`."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, list[str | int]]] = []
        self._index: dict[str, int] = {}

    def add(self, tree: Tree, loops: dict[str, int]) -> int:
        node = self._node(tree, loops)
        key = json.dumps(node)
        if key not in self._index:
            self._index[key] = len(self.nodes)
            self.nodes.append(node)
        return self._index[key]

    def _node(self, tree: Tree, loops: dict[str, int]) -> dict[str, list[str | int]]:
        node: dict[str, list[str | int]] = {}
        for keyword, (type_, children) in sorted(tree.items()):
            if keyword in loops:
                node[keyword] = [type_, loops[keyword]]
            elif children:
                node[keyword] = [type_, self.add(children, loops)]
            else:
                node[keyword] = [type_]
        return node

    def add_content_loop(self, content: Tree) -> int:
        """A node for SR content items whose Content Sequence holds the same node again."""
        index = len(self.nodes)
        self.nodes.append({})
        self.nodes[index] = self._node(content, {"ContentSequence": index})
        return index


def content_item(attributes: dict[str, list[dict[str, Any]]]) -> Tree:
    """An SR content item: what a child item may hold, and what the root may hold besides."""
    root = attribute_tree(["sr-document-content"], attributes)
    _, item = root.pop("ContentSequence")
    return {**root, **item, "ContentSequence": ("1C", {})}


def iods() -> dict[str, Any]:
    """`{"source", "sop_classes": {uid: node index}, "nodes": [...]}`."""
    folder = Path(highdicom.__file__).parent / "_standard"
    modules = json.loads((folder / "iod_module_map.json").read_text())
    attributes = json.loads((folder / "module_attribute_map.json").read_text())
    interner = Interner()
    content = interner.add_content_loop(content_item(attributes))
    classes: dict[str, int] = {}
    for uid, iod in SOP_CLASSES.items():
        wanted = [m["key"] for m in modules[iod] if m["key"] not in UNWANTED_MODULES]
        classes[uid] = interner.add(attribute_tree(wanted, attributes), {"ContentSequence": content})
    return {
        "source": f"DICOM PS3.3 IODs and modules, as packaged by highdicom {highdicom.__version__} (MIT)",
        "sop_classes": classes,
        "nodes": interner.nodes,
    }


def dump_annex_e(table: dict[str, Any]) -> str:
    return json.dumps(table, indent=1) + "\n"


def dump_iods(table: dict[str, Any]) -> str:
    """One node a line, so that a new edition shows as a readable difference."""
    head = json.dumps({key: table[key] for key in ("source", "sop_classes")}, indent=1)
    nodes = ",\n".join(json.dumps(node, separators=(",", ":")) for node in table["nodes"])
    return f'{head[:-2]},\n "nodes": [\n{nodes}\n]\n}}\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edition", default=newest_edition())
    parser.add_argument("--out", type=Path, default=Path("deidentify/data"))
    arguments = parser.parse_args()
    edition = arguments.edition
    (arguments.out / f"annex_e_{edition}.json").write_text(dump_annex_e(annex_e(edition)))
    (arguments.out / "iods.json").write_text(dump_iods(iods()))


if __name__ == "__main__":
    main()
