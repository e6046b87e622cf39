"""Structured logs to stderr that cannot carry patient values.

Three guards: keys that name a DICOM identifying attribute are withheld, whatever their value; data sets are never
printed; and tracebacks show places, not messages, because the messages of a DICOM library quote what they read.
"""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

import structlog
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from gateway.errors import TimepointError
from gateway.settings import Log

WITHHELD = "[withheld]"
_GROUPS = (0x0010, 0x0020)
_ALSO = {
    "accession_number", "address", "age", "birth_date", "family_name", "given_name", "identifier", "identity", "issuer",
    "medical_record_number", "mrn", "name", "operator", "patient", "person_name", "physician", "sex", "surrogate",
    "study_date", "series_description", "study_description", "institution_name", "sop_instance_uid", "token",
    "password",
}  # fmt: skip
_ALLOWED = {"patient_key", "study_key", "series_number", "instance_number"}
_LOUD_LIBRARIES = ("pydicom", "pynetdicom", "highdicom", "httpx", "httpcore", "urllib3")
_CHATTY_LIBRARIES = ("alembic", "apscheduler", "httpx2", "uvicorn")


def configure_logging(settings: Log) -> None:
    """Send structlog and the standard library's logging to stderr, guarded; call it once for each process."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        places_of_exceptions,
        withhold_identifiers,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    render: Any = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    if settings.format == "json":
        render = structlog.processors.JSONRenderer(ensure_ascii=False, sort_keys=True)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
    _quieten_libraries()


def withhold_identifiers(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor: replace the value of identifying keys, and data sets anywhere, by `[withheld]`."""
    return {key: _guarded(key, value) for key, value in event.items()}


def places_of_exceptions(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor: turn `exc_info` into the kinds of the exceptions and the places they passed, without messages; our
    own errors keep theirs, which hold no patient values."""
    found = event.pop("exc_info", None)
    error = found if isinstance(found, BaseException) else sys.exc_info()[1] if found is True else None
    if isinstance(found, tuple):
        error = found[1]
    if error is not None:
        event["exception"] = _places(error)
    return event


def _places(error: BaseException) -> list[str]:
    lines: list[str] = []
    current: BaseException | None = error
    while current is not None and len(lines) < 200:
        message = f": {current}" if isinstance(current, TimepointError) else ""
        lines.append(f"{type(current).__module__}.{type(current).__qualname__}{message}")
        lines.extend(_frames(current.__traceback__))
        current = current.__cause__ or current.__context__
    return lines


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(trace)]


def _guarded(key: str, value: Any) -> Any:
    if _is_identifying(key) or isinstance(value, Dataset | DataElement):
        return WITHHELD
    if isinstance(value, dict):
        return {k: _guarded(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return [_guarded("", v) for v in value]
    return value


def _is_identifying(key: str) -> bool:
    plain = key.replace("_", "").lower()
    return key not in _ALLOWED and plain in _IDENTIFYING


def _identifying_keywords() -> frozenset[str]:
    """Every attribute of the patient and relationship groups by its keyword, and some of ours, in one spelling."""
    from pydicom._dicom_dict import DicomDictionary

    keywords = {keyword_for_tag(tag) for tag in DicomDictionary if tag >> 16 in _GROUPS}
    return frozenset(k.replace("_", "").lower() for k in {*keywords, *_ALSO} if k)


def _quieten_libraries() -> None:
    for name in _LOUD_LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in _CHATTY_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", module=r"(pydicom|pynetdicom|highdicom)(\..*)?")


_IDENTIFYING = _identifying_keywords()
