"""Tools that need no running gateway: `deidentify`, `segment` and `simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from timepoint.commands.options import DeviceOption, JsonOption
from timepoint.output import FAILED, REFUSED_INPUT, WRONG_USE, progress, say, show_json, show_table, stop

simulate = typer.Typer(help="Simulated data, with the truth beside it. Synthetic: never a claim about patients.")
FolderArgument = Annotated[Path, typer.Argument(metavar="IN", exists=True, help="Folder to read.")]


def deidentify(
    source: Annotated[Path, typer.Argument(metavar="IN|verify", help="Folder to read, or the word verify.")],
    target: Annotated[Path, typer.Argument(metavar="OUT|DIR", help="Folder to write, or to verify.")],
    key_file: Annotated[Path | None, typer.Option("--key-file", help="Key file; made when it does not exist.")] = None,
    profile: Annotated[
        Path | None, typer.Option("--profile", help="Profile (TOML); default: the one that ships.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option("--ledger", help="Write what was done with each instance (JSON lines).")
    ] = None,
    risk_report: Annotated[
        Path | None, typer.Option("--risk-report", help="Write what remains risky (.json, or else text); no values.")
    ] = None,
    against: Annotated[Path | None, typer.Option("--against", help="verify: the originals to look for.")] = None,
    deface: Annotated[
        bool, typer.Option("--deface", help="Segment each study, then remove the face; what fails does not leave.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """De-identify a folder of DICOM files into another, or verify one: `deidentify verify DIR [--against IN]`."""
    if str(source) == "verify":
        _verify(target, against, as_json)
        return
    if key_file is None:
        stop("--key-file is needed: the file that holds (or will hold) the secret key.", WRONG_USE)
    if not source.is_dir():
        stop(f"{source} is no folder.", REFUSED_INPUT)
    from deidentify.folder import deidentify_folder
    from deidentify.keys import KeyRing
    from deidentify.profile import Profile

    keys = KeyRing.load(key_file) if key_file.exists() else KeyRing.create(key_file)
    rules = Profile.load(profile) if profile else Profile.default()
    with progress() as shown:
        task = shown.add_task("de-identifying", total=None)
        report = deidentify_folder(
            source, target, keys, rules, ledger, lambda done, total: shown.update(task, completed=done, total=total)
        )
    if risk_report is not None:
        _write_risks(risk_report, report.risk.report())
    refused = [{"file": str(r.path), "code": r.code.value, "reason": r.message} for r in report.refused]
    written = report.written
    if deface:
        taken_out, faces = _deface(target)
        written -= taken_out
        refused += faces
    if as_json:
        show_json({"written": written, "refused": refused})
    else:
        say(f"{written} instances written to {target}, {len(refused)} files refused.")
        if refused:
            show_table(
                "Not written", ["file", "code", "reason"], [[r["file"], r["code"], r["reason"]] for r in refused]
            )
    if written == 0:
        raise typer.Exit(REFUSED_INPUT)


def _write_risks(file: Path, found: dict[str, Any]) -> None:
    import json

    from deidentify.residual_risk import as_text

    file.write_text(json.dumps(found, indent=1) + "\n" if file.suffix == ".json" else as_text(found), encoding="ascii")


def _deface(folder: Path) -> tuple[int, list[dict[str, str]]]:
    """Faces out of what was written; returns how many images were taken out again, and their studies as refusals."""
    from inference.backends.registry import load_backend
    from timepoint.deface_folder import deface_folder

    say("Segmenting and defacing ...")
    studies = deface_folder(folder, load_backend("segmentation-1", "auto"))
    for study in studies:
        if not study.code:
            say(f"{study.study}: {study.images} images without face ({study.removed:.1%} of its tissue removed).")
    failed = [study for study in studies if study.code]
    return sum(s.images for s in failed), [{"file": s.study, "code": s.code, "reason": s.message} for s in failed]


def _verify(folder: Path, against: Path | None, as_json: bool) -> None:
    from deidentify.folder_verification import verify_folder

    if not folder.is_dir():
        stop(f"{folder} is no folder.", REFUSED_INPUT)
    findings = verify_folder(folder, against)
    lines = [{"file": f.file, "where": f.where, "code": f.code.value, "message": f.message} for f in findings]
    if as_json:
        show_json({"findings": lines})
    elif lines:
        show_table(
            "Residual identifiers (values are not shown)",
            ["file", "where", "code", "message"],
            [list(v.values()) for v in lines],
        )
    else:
        say("Nothing was found.")
    if lines:
        raise typer.Exit(FAILED)


def segment(
    source: FolderArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    model: Annotated[
        str, typer.Option("--model", help="Installed model, model folder or MONAI bundle.")
    ] = "segmentation-1",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Segment a study folder (DICOM) or a case folder (NIfTI t1c t1n t2w t2f). The result is AI, not verified."""
    import json

    from inference.backends.registry import load_backend
    from inference.case_files import analyse_case, is_case_folder, write_results
    from inference.study import analyse_series, select_files

    backend = load_backend(model, device)
    say(f"Segmenting with {backend.identity.name} {backend.identity.version} ...")
    if is_case_folder(source):
        analysis = analyse_case(source, backend)
        write_results(out, analysis)
    else:
        from timepoint.segment_study import write_dicom_results

        series = select_files(sorted(p for p in source.rglob("*") if p.is_file()))
        analysis = analyse_series(series, backend, None)
        write_results(out, analysis)
        write_dicom_results(out, series, analysis)
    for note in analysis.notes:
        say(f"Note: {note}")
    document = json.loads((out / "measurements.json").read_text(encoding="utf-8"))
    if as_json:
        show_json(document)
        return
    rows = [
        [m["index"], *(f"{m['volumes_ml'][r]:.2f}" for r in ("whole", "core", "enhancing", "oedema"))]
        for m in document["lesions"]
    ]
    columns = ["lesion", "whole ml", "core ml", "enhancing ml", "oedema ml"]
    show_table(f"AI result - not verified; written to {out}", columns, rows)


@simulate.command("studies")
def simulate_studies(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    patients: Annotated[int, typer.Option("--patients", min=1)] = 2,
    timepoints: Annotated[int, typer.Option("--timepoints", min=1)] = 3,
    seed: Annotated[int, typer.Option("--seed")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Write longitudinal MR studies as DICOM, with truth.json and truth masks beside them."""
    from training.simulate.studies import simulate_studies as run

    with progress() as shown:
        task = shown.add_task("simulating MR studies", total=patients * timepoints)
        truths = run(
            patients, timepoints, seed, out, lambda done, total: shown.update(task, completed=done, total=total)
        )
    if as_json:
        show_json([t.as_json() for t in truths])
    else:
        say(f"{len(truths)} studies of {patients} simulated patients written to {out}.")


@simulate.command("histories")
def simulate_histories(
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="File to write (.jsonl: line by line, any number); the latent truth goes beside it."
        ),
    ],
    patients: Annotated[int, typer.Option("--patients", min=1)] = 200,
    seed: Annotated[int, typer.Option("--seed")] = 1,
) -> None:
    """Write synthetic patient histories (schema patient-histories/1) and, in a file of its own, their latent truth."""
    from longitudinal.histories import encode
    from training.simulate.histories import simulate_histories as run
    from training.simulate.histories import write_lines

    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".jsonl":
        write_lines(out, out.with_suffix(".truth.jsonl"), patients, seed)
        say(f"{patients} synthetic patients written to {out}, line by line, their truth beside it.")
        return
    made = run(patients, seed)
    out.write_bytes(encode(made.histories))
    truth = out.with_suffix(".truth.json")
    truth.write_bytes(encode(made.truth))
    say(f"{patients} synthetic patients written to {out}, their truth to {truth}.")
