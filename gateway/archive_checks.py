"""The doctor's look at the archives around us: is each one reachable, and does it do what is configured of it?

Nothing is stored, fetched or committed: the questions are about a study and a patient that do not exist.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.admission import is_loopback
from gateway.archive_query import ArchiveSilent, archive_at
from gateway.dicomweb_client import DICOM_JSON, DicomwebError, dicomweb, refusal
from gateway.dimse_client import RemoteAe, echo
from gateway.findings import Finding, Health
from gateway.get_client import get_is_offered
from gateway.query_client import NO_SUCH_STUDY, find_is_answered, move_is_answered, offers_storage_commitment
from gateway.settings import Destination, DestinationKind, Peer, Settings

NO_SUCH_PATIENT = "TIMEPOINT-DOCTOR-ASKS"
_UNKNOWN_THERE = frozenset({200, 204, 206, 404, 406, 410})


def peers(settings: Settings) -> Iterator[Finding]:
    """Nodes that may send: whether they answer, and whether their archive tells how many images it has."""
    if not settings.dicom.peers:
        yield Finding("peers", Health.OK, "none listed: only this machine may send")
    for peer in settings.dicom.peers:
        name = peer.name or peer.ae_title
        problem = echo(settings.dicom.ae_title, RemoteAe.of(peer))
        if problem:
            yield Finding(f"peer {name}: C-ECHO", Health.WARNING, problem, "A node that only sends need not answer.")
        else:
            yield Finding(f"peer {name}: C-ECHO", Health.OK, "answers")
        if peer.query:
            yield _query(settings, name, peer)


def priors(settings: Settings) -> Iterator[Finding]:
    """Where earlier studies are fetched, and whether that archive would send them."""
    wanted = settings.priors
    peer = settings.dicom.peer_named(wanted.archive) if wanted.archive else None
    if peer is None:
        yield Finding("priors", Health.OK, "not fetched (priors.archive is empty)")
        return
    if wanted.retrieve == "c-move":
        problem = move_is_answered(settings.dicom.ae_title, RemoteAe.of(peer))
        remedy = f"Let the PACS know {settings.dicom.ae_title} as a C-MOVE destination."
    elif wanted.retrieve == "c-get":
        problem = get_is_offered(settings.dicom.ae_title, RemoteAe.of(peer))
        remedy = "Ask the PACS to offer C-GET with storage role selection, or fetch by c-move."
    else:
        problem = _web_problem(peer, f"studies/{NO_SUCH_STUDY}", 'multipart/related; type="application/dicom"')
        remedy = "Check the url and token_file of that peer, and that it offers WADO-RS."
    if problem:
        yield Finding(f"priors: {wanted.retrieve}", Health.FAILURE, problem, remedy)
    else:
        limits = f"at most {wanted.max_studies}, none older than {wanted.max_age_days} days"
        yield Finding(f"priors: {wanted.retrieve}", Health.OK, f"{wanted.archive} answers; {limits}")


def destinations(settings: Settings) -> Iterator[Finding]:
    """Where results go."""
    if not settings.destinations:
        yield Finding("destinations", Health.WARNING, "no destination", "List the PACS under destinations.")
    for d in settings.destinations:
        yield from _stow(d) if d.kind is DestinationKind.STOW else _dicom(settings, d)


def what_to_ask_for(settings: Settings) -> list[str]:
    """What the configured services need at the PACS, in sentences."""
    ours, lines = settings.dicom.ae_title, []
    if any(d.commitment == "required" for d in settings.destinations):
        lines.append(f"Offer storage commitment to AE title {ours} and report to its host, port {settings.dicom.port}.")
    if any(p.query == "c-find" for p in settings.dicom.peers):
        lines.append(f"Answer C-FIND (Study Root) of AE title {ours}.")
    if settings.priors.archive and settings.priors.retrieve == "c-move":
        lines.append(f"Allow C-MOVE (Study Root) by AE title {ours} to itself.")
    if settings.priors.archive and settings.priors.retrieve == "c-get":
        lines.append(f"Allow C-GET (Study Root) by AE title {ours}.")
    return lines


def _query(settings: Settings, name: str, peer: Peer) -> Finding:
    check = f"peer {name}: {peer.query}"
    try:
        archive_at(settings, peer).studies(NO_SUCH_PATIENT)
    except ArchiveSilent as silent:
        remedy = "Its studies wait study.count_wait_s for a count that does not come: mend it, or leave query empty."
        return Finding(check, Health.FAILURE, str(silent), remedy)
    return Finding(check, Health.OK, "answers; images are counted")


def _stow(d: Destination) -> Iterator[Finding]:
    problem = _web_problem(d, f"studies?StudyInstanceUID={NO_SUCH_STUDY}", DICOM_JSON)
    if problem:
        yield Finding(f"{d.name}: DICOMweb", Health.FAILURE, problem, "Check url and token_file of this destination.")
    else:
        yield Finding(f"{d.name}: DICOMweb", Health.OK, "answers; storage commitment waived")


def _web_problem(at: Destination | Peer, path: str, accept: str) -> str | None:
    try:
        with dicomweb(at.token_file, timeout_s=10.0) as http:
            answer = http.get(f"{at.url}/{path}", headers={"Accept": accept})
    except DicomwebError as error:
        return str(error)
    unknown = _UNKNOWN_THERE if path.startswith("studies/") else {200, 204}
    return None if answer.status_code in unknown else str(refusal(answer))


def _dicom(settings: Settings, d: Destination) -> Iterator[Finding]:
    remote = RemoteAe.of(d)
    problem = echo(settings.dicom.ae_title, remote)
    if problem:
        remedy = f"Ask the PACS to know AE title {settings.dicom.ae_title}; check ae_title, host and port."
        yield Finding(f"{d.name}: C-ECHO", Health.FAILURE, problem, remedy)
        return
    yield Finding(f"{d.name}: C-ECHO", Health.OK, "answers")
    local = settings.dicom.ae_title
    for service, problem, remedy in (
        ("C-FIND", find_is_answered(local, remote), "Without C-FIND, image counts cannot be compared."),
        ("C-MOVE", move_is_answered(local, remote), f"Let the PACS know {local} as a C-MOVE destination."),
    ):
        health = Health.WARNING if problem else Health.OK
        yield Finding(f"{d.name}: {service}", health, problem or "answers", remedy if problem else "")
    yield _commitment(settings, d, remote)


def _commitment(settings: Settings, d: Destination, remote: RemoteAe) -> Finding:
    check, required = f"{d.name}: storage commitment", d.commitment == "required"
    problem = offers_storage_commitment(settings.dicom.ae_title, remote)
    if problem:
        health = Health.FAILURE if required else Health.WARNING
        return Finding(check, health, problem, "Ask for it, or set commitment to waived.")
    if not required:
        return Finding(check, Health.OK, "offered; waived here")
    if not _is_admitted(settings, d):
        remedy = f"List {d.ae_title} under dicom.peers: its reports come on an association of its own."
        return Finding(check, Health.FAILURE, "its reports would be refused", remedy)
    return Finding(check, Health.OK, "offered; asked for each delivery")


def _is_admitted(settings: Settings, d: Destination) -> bool:
    dicom = settings.dicom
    if dicom.allow_unknown_peers:
        return True
    if not dicom.peers:
        return d.host == "localhost" or (d.host.replace(".", "").isdigit() and is_loopback(d.host))
    return any(p.ae_title.strip() == d.ae_title.strip() for p in dicom.peers)
