"""The doctor: looks at this site from the hospital's side and says what is wrong and what to ask for.

Every check is a function that returns findings; none changes anything. A failure is something that stops results from
arriving; a warning is something a site may have chosen.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa

from deidentify import text_reader
from deidentify.keys import KeyRing
from gateway import archive_checks, storage_checks
from gateway.client_tls import ClientTls
from gateway.database import open_database, require_current
from gateway.dimse_client import RemoteAe, echo
from gateway.errors import DatabaseOutdated, SettingsError, TimepointError
from gateway.fhir_access import fhir_token
from gateway.findings import Finding as Finding
from gateway.findings import Health as Health
from gateway.settings import Settings, Tls
from gateway.vault_key import VaultKey
from inference.model_folder import SHIPPED_MODELS, ModelFolderError, read_model_folder
from timepoint_fhir.capability import shortcomings
from timepoint_fhir.client import FhirClient
from timepoint_fhir.context import Version, Write
from timepoint_fhir.errors import FhirError


def examine(settings: Settings) -> list[Finding]:
    """Run every check, in the order in which a result passes what they look at."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _database, _disk, storage_checks.stored_files, _keys, _vault_key, _pixel_text, _models, _device, _receiver,
        archive_checks.peers, archive_checks.priors, archive_checks.destinations, _fhir,
    )  # fmt: skip
    return [finding for check in checks for finding in check(settings)]


def pacs_settings(settings: Settings) -> list[str]:
    """What to ask the PACS administrator for, in sentences."""
    dicom = settings.dicom
    lines = [
        f"Add a destination: AE title {dicom.ae_title}, host of this machine, port {dicom.port}"
        + (", DICOM TLS with client certificate." if dicom.tls else "."),
        "Route every MR study of the brain there when it is complete; send all its series.",
        f"Accept C-STORE of Segmentation and Comprehensive 3D SR objects from AE title {dicom.ae_title}.",
        f"Do not route objects back that came from AE title {dicom.ae_title} (they would be ignored).",
    ]
    lines.extend(archive_checks.what_to_ask_for(settings))
    if not dicom.peers:
        lines.append(
            "Here: list the PACS under dicom.peers (AE title and host); until then only this machine may send."
        )
    return lines


def _database(settings: Settings) -> Iterator[Finding]:
    try:
        engine: sa.Engine = open_database(settings.database.url, settings.database.password_file)
        require_current(engine)
        engine.dispose()
    except DatabaseOutdated as error:
        yield Finding("database", Health.FAILURE, str(error), "Run `timepoint db upgrade`.")
    except TimepointError as error:
        yield Finding("database", Health.FAILURE, error.explanation, "Check database.url and that the server runs.")
    else:
        yield Finding("database", Health.OK, sa.engine.make_url(settings.database.url).get_backend_name())


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    while not folder.exists():
        folder = folder.parent
    free_mb = shutil.disk_usage(folder).free // 2**20
    need = settings.storage.min_free_mb
    if free_mb < need:
        yield Finding("disk", Health.FAILURE, f"{free_mb} MB free", f"Free space: below {need} MB nothing is accepted.")
    elif free_mb < 10 * need:
        yield Finding("disk", Health.WARNING, f"{free_mb} MB free", "A study takes some 200 MB; plan for more.")
    else:
        yield Finding("disk", Health.OK, f"{free_mb} MB free")


def _keys(settings: Settings) -> Iterator[Finding]:
    file = settings.deidentify.key_file
    if file is None or not file.exists():
        yield Finding(
            "keys", Health.WARNING, "no de-identification key yet", "It is made when the worker first starts."
        )
        return
    try:
        KeyRing.load(file)
    except (OSError, ValueError) as error:
        yield Finding("keys", Health.FAILURE, str(error), "Restore the key file from the backup.")
    else:
        yield Finding("keys", Health.OK, "key file present and readable by its owner only")


def _vault_key(settings: Settings) -> Iterator[Finding]:
    file = settings.deidentify.vault_key_file
    if file is None or not file.exists():
        yield Finding("vault key", Health.WARNING, "no key yet", "It is made when the first study is de-identified.")
        return
    try:
        VaultKey.load(file)
    except SettingsError as error:
        yield Finding("vault key", Health.FAILURE, str(error), "Restore the key file from the backup.")
    else:
        yield Finding("vault key", Health.OK, "key file present and readable by its owner only")


def _pixel_text(_: Settings) -> Iterator[Finding]:
    if text_reader.is_installed():
        yield Finding("text in pixels", Health.OK, "the reader is installed")
    else:
        told = "no reader: reformats, captures and other secondary images are refused, whatever they show"
        yield Finding("text in pixels", Health.WARNING, told, f"Run `pip install '{text_reader.EXTRA}'`.")


def _models(settings: Settings) -> Iterator[Finding]:
    folders = [("segmentation", settings.inference.model or "segmentation-1")]
    folders += [
        ("brain-extraction", "brain-1"),
        ("series-contrast", "contrast-1"),
        ("forecast", settings.forecast.model or "forecast-1"),
    ]
    for kind, named in folders:
        folder = Path(named) if Path(named).is_dir() else SHIPPED_MODELS / named
        if not (folder / "model.json").is_file() and folder.is_dir():
            yield Finding(f"model {kind}", Health.OK, f"{folder.name}: a bundle, checked when it is loaded")
            continue
        try:
            card = read_model_folder(folder, kind).card
        except ModelFolderError as error:
            yield Finding(f"model {kind}", Health.FAILURE, str(error), "Install the model again.")
        else:
            yield Finding(f"model {kind}", Health.OK, f"{card['name']} {card['version']}, hash verified")


def _device(settings: Settings) -> Iterator[Finding]:
    import torch  # seconds of import: only the doctor who looks at the device pays them

    cuda = torch.cuda.is_available()
    if settings.inference.device == "cuda" and not cuda:
        yield Finding("device", Health.FAILURE, "no CUDA device", "Set inference.device to auto, or mend the driver.")
    else:
        name = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
        yield Finding("device", Health.OK, name)


def _receiver(settings: Settings) -> Iterator[Finding]:
    dicom = settings.dicom
    host = "127.0.0.1" if dicom.host in ("0.0.0.0", "") else dicom.host  # noqa: S104 - compared, not bound
    problem = echo(dicom.ae_title, RemoteAe(dicom.ae_title, host, dicom.port, _own_tls(dicom.tls)))
    if problem and dicom.peers:
        detail = f"{problem}; with peers listed, this machine itself may not be one of them"
        yield Finding("receiver", Health.WARNING, detail, "Start `timepoint serve`; C-ECHO from the PACS.")
    elif problem:
        yield Finding("receiver", Health.FAILURE, problem, "Start `timepoint serve` (or `timepoint receive`).")
    else:
        yield Finding("receiver", Health.OK, f"{dicom.ae_title} answers on port {dicom.port}")
    if dicom.tls is None and host not in ("127.0.0.1", "localhost", "::1"):
        yield Finding("tls", Health.WARNING, "DICOM without TLS", "Set dicom.tls where the network is not trusted.")


def _own_tls(tls: Tls | None) -> ClientTls | None:
    """To call ourselves: our own certificate on both sides, which need not be issued for the loopback address."""
    if tls is None:
        return None
    return ClientTls(
        certificate_file=tls.certificate_file, key_file=tls.key_file, ca_file=tls.ca_file, check_host=False
    )


def _fhir(settings: Settings) -> Iterator[Finding]:
    options = settings.fhir
    if not options.base_url:
        yield Finding("FHIR", Health.WARNING, "no server configured", "Set fhir.base_url to publish Observations.")
        return
    try:
        with FhirClient(options.base_url, fhir_token(options), timeout_s=10) as client:
            statement = client.capability()
    except (FhirError, ValueError, OSError) as error:
        yield Finding("FHIR", Health.FAILURE, str(error), "Check fhir.base_url and fhir.auth.")
        return
    missing = shortcomings(statement, Write(options.write), Version(options.version))
    if missing:
        yield Finding("FHIR", Health.WARNING, "; ".join(missing), "Check fhir.write, or ask the server's operator.")
    else:
        yield Finding("FHIR", Health.OK, f"metadata answers, FHIR {statement.get('fhirVersion')}")
