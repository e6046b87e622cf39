"""One public de-identification library over a folder, with its documented defaults: run by `deidentify_leaks.py`.

    python bench/deidentify_libraries.py NAME IN OUT

Runs under a Python that has the libraries, which are no dependency of the project. Files keep their names, so that
inputs and outputs can be paired. One that the library refuses or breaks on is left out. `copy` only reads and writes.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pydicom


def copy(source: Path, target: Path) -> None:
    pydicom.dcmread(source).save_as(target)


def dicognito() -> Callable[[Path, Path], None]:
    from dicognito.anonymizer import Anonymizer

    anonymizer = Anonymizer(seed="seed")

    def one(source: Path, target: Path) -> None:
        ds = pydicom.dcmread(source)
        anonymizer.anonymize(ds)
        ds.save_as(target)

    return one


def dicom_anonymizer() -> Callable[[Path, Path], None]:
    from dicomanonymizer.simpledicomanonymizer import anonymize_dicom_file, initialize_actions

    def one(source: Path, target: Path) -> None:
        anonymize_dicom_file(str(source), str(target), base_rules_gen=lambda: initialize_actions("dicomfields_2026c"))

    return one


def dcm_anonymizer() -> Callable[[Path, Path], None]:
    from dcm_anon.pipeline import anonymize_file
    from dcm_anon.uid_mapper import UIDMapper

    mapper = UIDMapper(salt="salt")

    def one(source: Path, target: Path) -> None:
        anonymize_file(source, target, mapper)

    return one


def dcmanon() -> Callable[[Path, Path], None]:
    from dcmanon import Anonymizer

    anonymizer = Anonymizer()

    def one(source: Path, target: Path) -> None:
        target.write_bytes(bytes(anonymizer.anonymize(str(source))))

    return one


def deid() -> Callable[[Path, Path], None]:
    from deid.dicom import get_identifiers, replace_identifiers

    def one(source: Path, target: Path) -> None:
        found = get_identifiers([str(source)])
        replace_identifiers(
            dicom_files=[str(source)], ids=found, output_folder=str(target.parent), overwrite=True, save=True
        )

    return one


LIBRARIES: dict[str, Callable[[], Callable[[Path, Path], None]]] = {
    "copy": lambda: copy,
    "dicognito": dicognito,
    "dicom-anonymizer": dicom_anonymizer,
    "dcm-anonymizer": dcm_anonymizer,
    "dcmanon": dcmanon,
    "deid": deid,
}


def main() -> None:
    name, source, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    one = LIBRARIES[name]()
    for path in sorted(source.iterdir()):
        with contextlib.suppress(Exception):
            one(path, target / path.name)


if __name__ == "__main__":
    main()
