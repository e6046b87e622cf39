"""`patient_histories.json`: schema `patient-histories/1`, the one form in which histories leave and enter.

Simulated, exported and imported histories share it. There are no calendar dates and no identifiers in it: times
are whole days from the patient's first scan, `pid` is random per export. Files are validated when they are made
and when they are read, and they are written the same way each time (sorted keys, six significant digits), so the
SHA-256 of the file names the data. Large exports are JSON Lines: one header line, then one patient per line.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from longitudinal.features import DAYS_PER_MONTH, DAYS_PER_YEAR, FEATURE_SCHEMA, MAXIMUM_VOLUME_ML, MINIMUM_VOLUME_ML
from longitudinal.types import Response, TumourType

HISTORIES_SCHEMA = "patient-histories/1"
TRUTH_SCHEMA = "patient-histories-truth/1"
SIGNIFICANT_DIGITS = 6

_FEATURE_TOLERANCE = 0.005

Volume = Annotated[float, Field(ge=0, le=2000, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Day = Annotated[int, Field(ge=-36525, le=36525)]


class HistoriesError(ValueError):
    """A history file does not follow its schema; the message names the patient, the field and what is wrong."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Volumes(_Model):
    """Compartments of one scan in cc: enhancing, necrotic, oedema/FLAIR hyperintensity, resection cavity."""

    enhancing: Volume = Field(alias="ET")
    necrotic: Volume = Field(alias="NCR")
    oedema: Volume = Field(alias="SNFH")
    cavity: Volume = Field(alias="RC", default=0.0)


class Quality(_Model):
    """`imputed` names compartments that were carried forward because the model could not see them."""

    imputed: tuple[Literal["ET", "NCR", "SNFH", "RC"], ...] = ()
    qc: Literal["pass", "warn", "fail"] = "pass"
    reader_edited: bool = False


class Scan(_Model):
    """One scan: `t` in days from the first, `target_cc` the volume of the region followed for the tumour type,
    `target_sd_ln` one SD of repeat measurement of its logarithm, `features` as `tgf-10/1` orders them."""

    t: Day
    scanner: str | None = None
    seg_model: str | None = None
    volume_cc: Volumes
    target_cc: Volume
    target_sd_ln: Annotated[float, Field(gt=0, le=5)] | None = None
    features: Annotated[tuple[Finite, ...], Field(min_length=10, max_length=10)]
    quality: Quality = Quality()
    rano: Response | None = None


class Treatment(_Model):
    """A treatment with the day it was *decided*: a forecast may know of it only from that day on.

    `stop` is the last day, null while it runs. `planned` marks one that has not begun when the history was made.
    """

    kind: Literal["surgery", "rt", "srs", "chemo", "antiangiogenic", "immuno", "steroid"]
    decided: Day
    start: Day
    stop: Day | None = None
    agent: str | None = None
    extent: Literal["gtr", "str", "bx"] | None = None
    planned: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.decided > self.start:
            raise ValueError(f"decided (day {self.decided}) lies after start (day {self.start})")
        if self.stop is not None and self.stop < self.start:
            raise ValueError(f"stop (day {self.stop}) lies before start (day {self.start})")
        return self


class Truth(_Model):
    """The simulator's latent target volume on days `t`; only synthetic data has one."""

    t: tuple[Day, ...]
    target_cc: tuple[Volume, ...]
    law: str

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.t) != len(self.target_cc):
            raise ValueError("t and target_cc differ in length")
        return self


class Patient(_Model):
    """One patient: type and markers as far as they are known, treatments, scans in order of time."""

    pid: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    split: Literal["train", "validation", "test"] | None = None
    tumour_type: TumourType
    who_grade: Annotated[int, Field(ge=1, le=4)] | None = None
    idh: Literal["wt", "mut"] | None = None
    mgmt: Literal["meth", "unmeth"] | None = None
    codel_1p19q: bool | None = None
    age_decade: Annotated[int, Field(ge=0, le=120, multiple_of=10)] | None = None
    sex: Literal["F", "M", "O"] | None = None
    treatments: tuple[Treatment, ...] = ()
    scans: Annotated[tuple[Scan, ...], Field(min_length=1)]
    truth: Truth | None = None

    @model_validator(mode="after")
    def _scans_in_order(self) -> Self:
        if self.scans[0].t != 0:
            raise ValueError(f"scans.0.t is {self.scans[0].t}; the first scan is day 0")
        previous = 0
        for index, scan in enumerate(self.scans):
            if scan.t < previous:
                raise ValueError(f"scans.{index}.t is {scan.t}, before the scan that precedes it (day {previous})")
            _check_features(index, scan, scan.t - previous)
            previous = scan.t
        return self


class Source(_Model):
    """Where the histories come from. `site` is a random name of the site, never the hospital's."""

    kind: Literal["synthetic", "site-export", "public"]
    site: str | None = None
    generator: str | None = None
    seed: int | None = None
    config_sha256: str | None = None


class Units(_Model):
    volume: Literal["cc"] = "cc"
    time: Literal["days_from_baseline"] = "days_from_baseline"
    length: Literal["mm"] = "mm"


class Deidentification(_Model):
    profile: str
    k_anonymity_checked: bool = False


class _Head(_Model):
    schema_: Literal["patient-histories/1"] = Field(alias="schema", default="patient-histories/1")
    created: dt.datetime | None = None
    source: Source
    feature_schema: Literal["tgf-10/1"] = "tgf-10/1"
    units: Units = Units()
    deidentification: Deidentification | None = None


class Histories(_Head):
    """A whole file. `created` is null for synthetic data, which generator, seed and configuration determine."""

    patients: tuple[Patient, ...]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        seen: set[str] = set()
        for patient in self.patients:
            if patient.pid in seen:
                raise ValueError(f"patient {patient.pid}: pid is used twice")
            seen.add(patient.pid)
            if patient.truth is not None and self.source.kind != "synthetic":
                raise ValueError(
                    f"patient {patient.pid}: truth has no place in a {self.source.kind}; only synthetic data has one"
                )
        return self


class TruthFile(_Model):
    """Latent truth beside a synthetic file: `histories_sha256` is the hash of the file it belongs to."""

    schema_: Literal["patient-histories-truth/1"] = Field(alias="schema", default="patient-histories-truth/1")
    histories_sha256: str
    truth: dict[str, Truth]


def encode(model: Histories | TruthFile) -> bytes:
    """The canonical bytes of a file: one JSON document, keys sorted, six significant digits, final newline."""
    return _canonical(_plain(model)) + b"\n"


def encode_lines(histories: Histories, patients: Iterable[Patient] | None = None) -> Iterator[bytes]:
    """The same as JSON Lines: the header without `patients`, then one patient per line.

    `patients` replaces those of `histories`, so that a file of any length can be written as it is made.
    """
    yield _canonical(_plain(_Head(**{k: getattr(histories, k) for k in _Head.model_fields}))) + b"\n"
    for patient in histories.patients if patients is None else patients:
        yield _canonical(_plain(patient)) + b"\n"


def encode_truth_line(pid: str, truth: Truth) -> bytes:
    """The truth of one patient as a line of a truth file in JSON Lines."""
    return _canonical({"pid": pid, "truth": _plain(truth)}) + b"\n"


def decode(data: bytes) -> Histories:
    """Read and validate a file, JSON or JSON Lines.

    Raises:
        HistoriesError: naming the patient and the field that break the schema.
    """
    document = _parse(data)
    try:
        return Histories.model_validate(document)
    except ValidationError as error:
        raise HistoriesError(_explain(error, document)) from None


def decode_truth(data: bytes) -> TruthFile:
    """Read and validate a truth file, JSON or JSON Lines.

    Raises:
        HistoriesError: when it does not follow its schema.
    """
    try:
        head, _, rest = data.partition(b"\n")
        if rest.strip() and b'"pid"' in head:
            *lines, last = [json.loads(line) for line in data.splitlines() if line.strip()]
            return TruthFile.model_validate({**last, "truth": {line["pid"]: line["truth"] for line in lines}})
        return TruthFile.model_validate_json(data)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise HistoriesError(f"not a {TRUTH_SCHEMA} file: {error}") from None
    except ValidationError as error:
        raise HistoriesError(_explain(error, {})) from None


def sha256(data: bytes) -> str:
    """Hex SHA-256 of the encoded bytes: the name of the data."""
    return hashlib.sha256(data).hexdigest()


def json_schema_text() -> str:
    """The JSON Schema as `longitudinal/schemas/patient_histories_1.schema.json` holds it."""
    schema = Histories.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _check_features(index: int, scan: Scan, interval_days: int) -> None:
    volume = min(max(scan.target_cc, MINIMUM_VOLUME_ML), MAXIMUM_VOLUME_ML)
    expected = {0: math.log(volume), 6: scan.t / DAYS_PER_YEAR, 7: interval_days / DAYS_PER_MONTH / 3}
    for number, value in expected.items():
        if abs(scan.features[number] - value) > _FEATURE_TOLERANCE:
            raise ValueError(
                f"scans.{index}.features.{number} is {scan.features[number]:g} where {FEATURE_SCHEMA} gives {value:.4g}"
            )


def _plain(model: BaseModel) -> Any:
    return _rounded(model.model_dump(mode="json", by_alias=True))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items() if not (key == "truth" and item is None)}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _parse(data: bytes) -> Any:
    try:
        head, _, rest = data.partition(b"\n")
        if not rest.strip():
            return json.loads(data)
        try:
            first = json.loads(head)
        except json.JSONDecodeError:
            return json.loads(data)
        patients = [json.loads(line) for line in rest.splitlines() if line.strip()]
        return {**first, "patients": patients}
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise HistoriesError(f"not a {HISTORIES_SCHEMA} file: {error}") from None


def _explain(error: ValidationError, document: Any) -> str:
    issue = error.errors(include_url=False)[0]
    location: Sequence[Any] = issue["loc"]
    message = issue["msg"].removeprefix("Value error, ")
    if len(location) > 1 and location[0] == "patients":
        named = document["patients"][location[1]]
        pid = named.get("pid", f"number {location[1]}") if isinstance(named, dict) else f"number {location[1]}"
        field = ".".join(str(part) for part in location[2:])
        where = f"patient {pid}" + (f", {field}" if field else "")
    else:
        where = ".".join(str(part) for part in location)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {message}{more}" if where else f"{message}{more}"
