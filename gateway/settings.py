"""Configuration: `timepoint.toml`, overridden by `TIMEPOINT_SECTION__KEY`, checked before anything starts.

Every key has a default that works on one machine with nothing else installed. Secrets are given by reference to a file,
never as a value, so that neither `printable()` nor a process list can show one.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from gateway.archive_settings import AskedArchive, Priors
from gateway.archive_settings import Destination as Destination
from gateway.archive_settings import DestinationKind as DestinationKind
from gateway.client_tls import ClientTls
from gateway.errors import SettingsError
from gateway.identity_settings import Hl7, IdentityLookup, IdentityRules
from gateway.result_settings import Results
from gateway.settings_mistakes import describe, nearest
from gateway.settings_section import AeTitle, Port, Seconds, Section
from gateway.study_settings import ForcePolicy as ForcePolicy
from gateway.study_settings import Retention
from gateway.study_settings import Study as Study

DEFAULT_FILE = Path("timepoint.toml")
_PREFIX = "TIMEPOINT_"
_NOT_SETTINGS = {"TIMEPOINT_TEST_DATA", "TIMEPOINT_CONFIG"}


class Durability(StrEnum):
    """When what was received is on the disk: before each C-STORE is answered, or before the release is."""

    INSTANCE = "instance"
    ASSOCIATION = "association"


class Tls(Section):
    """DICOM TLS (BCP 195 profile): our certificate, its key, and the authority that peers must show."""

    certificate_file: Path
    key_file: Path
    ca_file: Path
    require_client_certificate: bool = True


class Peer(AskedArchive):
    """A DICOM node that may send to us: calling AE title and the host it calls from. `tls` is for what we ask of it.

    `issuer` is the assigning authority of patient IDs that this node sends without an issuer. With
    `stated_issuer = "ignore"` it counts also where the node states one. At most `max_associations` of it are open at a
    time, beside the limit of the whole node.
    """

    ae_title: AeTitle
    host: str = "127.0.0.1"
    port: Port = 104
    name: str = ""
    issuer: str = ""
    stated_issuer: Literal["keep", "ignore"] = "keep"
    max_associations: int | None = Field(default=None, ge=1, le=1000)
    tls: ClientTls | None = None


def _receiving_processes() -> int:
    """One for each processor, four at most: that many outrun a disk that has to sync each instance."""
    return min(len(os.sched_getaffinity(0)), 4)


class Dicom(Section):
    """The DICOM node we are. With no peers listed, only this machine (loopback) may send.

    `processes` serve the associations (0 = threads of the receiver itself); the receiver indexes what they store.
    """

    ae_title: AeTitle = "TIMEPOINT"
    host: str = "127.0.0.1"
    port: Port = 11112
    tls: Tls | None = None
    peers: tuple[Peer, ...] = ()
    allow_unknown_peers: bool = False
    max_associations: int = Field(default=64, ge=1, le=1000)
    max_pdu: int = Field(default=131072, ge=4096)
    idle_timeout_s: Seconds = 60.0
    processes: int = Field(default_factory=_receiving_processes, ge=0, le=64)
    durability: Durability = Durability.INSTANCE
    default_issuer: str = ""

    def peer_named(self, name_or_ae_title: str) -> Peer | None:
        """The first peer of that name or AE title."""
        return next((p for p in self.peers if name_or_ae_title in (p.name, p.ae_title.strip())), None)


class Storage(Section):
    """Where objects lie. Below `min_free_mb` of free disk the receiver answers "out of resources" (A700)."""

    url: str = ""
    min_free_mb: int = Field(default=1024, ge=0)


class Database(Section):
    """The application database; SQLite by default, `postgresql+psycopg://` at scale."""

    url: str = ""
    password_file: Path | None = None


class Engine(Section):
    """The workflow engine's own database and the slots of this machine."""

    url: str = ""
    password_file: Path | None = None
    gpu_slots: int = Field(default=1, ge=1)
    patient_slots: int = Field(default=2, ge=1)
    poll_s: Seconds = 0.5
    max_attempts: int = Field(default=5, ge=1)


class Deidentify(Section):
    """De-identification profile (empty = the one that ships), the files of the key and of the vault's key, and the
    project whose pseudonyms and UIDs are made: two projects share none."""

    profile: Path | None = None
    key_file: Path | None = None
    vault_key_file: Path | None = None
    project: str = "default"


class Inference(Section):
    """Segmentation model (name or folder; empty = the one that ships) and the device."""

    model: str = ""
    device: Literal["auto", "cpu", "cuda"] = "auto"


class Forecast(Section):
    """Forecasting model (name or folder; empty = the promoted one) and the horizons; the coverage of the intervals is
    the model's, as it was calibrated."""

    model: str = ""
    horizons_days: tuple[int, ...] = (90, 180, 365)


class FhirAuth(Section):
    """How we sign in at the FHIR server: a bearer token, read from `token_file` at each use, or SMART Backend Services
    with `client_id` and `key_file`, a private JWK (ES384 or RS384). With `token_url` empty the server names it; with
    `scope` empty only what is needed is asked for."""

    token_file: Path | None = None
    client_id: str = ""
    key_file: Path | None = None
    token_url: str = ""
    scope: str = ""

    @model_validator(mode="after")
    def _one_way(self) -> FhirAuth:
        if bool(self.client_id) is not bool(self.key_file):
            raise ValueError("client_id and key_file belong together")
        if self.token_file and self.client_id:
            raise ValueError("give either token_file or client_id with key_file")
        return self


class Fhir(Section):
    """The FHIR server results are published to; nothing is published without a `base_url`.

    `patient_system` is the identifier system of patient IDs (`urn:oid:...` or a URL); with it empty the issuer of the
    patient ID is used. `patients` says how a result finds its Patient: `match` one on the server (none, or several,
    refuses the result), `identifier` only, or `create` a bare one where the server has none (demonstrations).
    `write` is `by-id` for servers that let clients choose ids, `conditional` for those that do not.
    """

    version: Literal["R4", "R5"] = "R4"
    base_url: str = ""
    auth: FhirAuth = FhirAuth()
    patient_system: str = ""
    patients: Literal["match", "identifier", "create"] = "match"
    write: Literal["by-id", "conditional"] = "by-id"


class Schedule(Section):
    """Cron expressions (local time) of the recurring jobs; empty = never."""

    export: str = "0 2 * * *"
    housekeeping: str = "30 3 * * *"


class Export(Section):
    """What of the histories leaves: fewest patients that share what describes them (fewer leave nothing), days that
    times and millilitres that volumes are rounded to."""

    k: int = Field(default=5, ge=1)
    interval_days: int = Field(default=14, ge=1)
    volume_step_ml: float = Field(default=0.1, gt=0)


class WebAuth(Section):
    """Who may use the web application; `none` is accepted on loopback only.

    `tokens_file` holds one line for each user: role (sender, viewer, operator or admin), name and token, divided by
    blanks. A session of the pages ends `idle_minutes` after its last use and `longest_hours` after sign-in.
    """

    mode: Literal["none", "token"] = "none"
    tokens_file: Path | None = None
    idle_minutes: float = Field(default=30.0, gt=0)
    longest_hours: float = Field(default=12.0, gt=0)


class Web(Section):
    """The HTTP API and the web application. Instances above `max_instance_mb` are not taken over STOW-RS; one client
    address may ask for `requests_per_minute` of the API."""

    host: str = "127.0.0.1"
    port: Port = 8080
    auth: WebAuth = WebAuth()
    max_instance_mb: int = Field(default=1024, ge=1)
    requests_per_minute: int = Field(default=6000, ge=60)


class Log(Section):
    """Logging to stderr: JSON for machines, console for people."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "console"] = "json"


class Settings(BaseSettings):
    """The effective configuration. Build it directly in code and tests; `load_settings` reads file and environment.

    `data_dir` is the folder that the default URLs of storage, database and engine lie in.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    data_dir: Path = Path("timepoint-data")
    dicom: Dicom = Dicom()
    study: Study = Study()
    storage: Storage = Storage()
    database: Database = Database()
    engine: Engine = Engine()
    deidentify: Deidentify = Deidentify()
    export: Export = Export()
    inference: Inference = Inference()
    forecast: Forecast = Forecast()
    results: Results = Results()
    destinations: tuple[Destination, ...] = ()
    priors: Priors = Priors()
    fhir: Fhir = Fhir()
    schedule: Schedule = Schedule()
    web: Web = Web()
    retention: Retention = Retention()
    identity: IdentityRules = IdentityRules()
    hl7: Hl7 = Hl7()
    lookup: IdentityLookup = IdentityLookup()
    log: Log = Log()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: code that builds settings is not at the mercy of the environment."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("destinations")
    @classmethod
    def _names_differ(cls, value: tuple[Destination, ...]) -> tuple[Destination, ...]:
        names = [d.name for d in value]
        if len(set(names)) != len(names):
            raise ValueError("two destinations have the same name")
        return value

    @model_validator(mode="before")
    @classmethod
    def _place_data(cls, values: Any) -> Any:
        """Fill the empty URLs from `data_dir`, so that everybody reads the effective value."""
        if not isinstance(values, Mapping):
            return values
        folder = Path(values.get("data_dir") or "timepoint-data").expanduser().absolute()
        defaults: dict[str, dict[str, Any]] = {
            "storage": {"url": (folder / "objects").as_uri()},
            "database": {"url": f"sqlite:///{folder / 'timepoint.db'}"},
            "engine": {"url": f"sqlite:///{folder / 'engine.db'}"},
            "deidentify": {
                "key_file": folder / "keys" / "deidentify.key",
                "vault_key_file": folder / "keys" / "vault.key",
            },
        }
        placed = dict(values)
        for section, keys in defaults.items():
            given = placed.get(section) or {}
            stated = given.model_dump(exclude_unset=True) if isinstance(given, BaseModel) else dict(given)
            placed[section] = {**stated, **{k: v for k, v in keys.items() if not stated.get(k)}}
        return placed

    @model_validator(mode="after")
    def _urls_are_sound(self) -> Settings:
        for section, url in (("database", self.database.url), ("engine", self.engine.url)):
            try:
                backend = make_url(url).get_backend_name()
            except ArgumentError:
                raise ValueError(f"{section}.url is no database URL") from None
            if backend not in {"sqlite", "postgresql"}:
                raise ValueError(f"{section}.url must begin with sqlite:/// or postgresql+psycopg://")
        if not self.storage.url.startswith("file:///"):
            raise ValueError("storage.url must begin with file:///")
        return self

    @model_validator(mode="after")
    def _priors_have_an_archive(self) -> Settings:
        if self.priors.archive:
            named = self.dicom.peer_named(self.priors.archive)
            if named is None or not named.query:
                raise ValueError("priors.archive must name one of dicom.peers that has a query")
            if self.priors.retrieve == "wado-rs" and not named.url:
                raise ValueError("priors.retrieve by wado-rs needs the url of that peer")
        return self

    def printable(self) -> dict[str, Any]:
        """The effective configuration as JSON data, passwords in URLs masked."""
        shown: dict[str, Any] = self.model_dump(mode="json")
        for section in ("database", "engine"):
            shown[section]["url"] = make_url(shown[section]["url"]).render_as_string(hide_password=True)
        return shown


def load_settings(file: Path | None = None) -> Settings:
    """Read `file` (or `timepoint.toml` here, when it exists), override by the environment, and check.

    Raises:
        SettingsError: naming the file or variable, the key, and the nearest known key where one is unknown.
    """
    if file is not None and not file.is_file():
        raise SettingsError(f"There is no file {file}.")
    source_file = file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    _refuse_unknown_variables(os.environ)

    class FromOutside(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del init_settings, dotenv_settings, file_secret_settings
            if source_file is None:
                return (env_settings,)
            return (env_settings, TomlConfigSettingsSource(settings_cls, source_file))

    try:
        return FromOutside()
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{source_file} is no valid TOML: {error}.") from None
    except ValidationError as error:
        raise SettingsError(describe(error, source_file, Settings)) from None


def _refuse_unknown_variables(environment: Iterable[str]) -> None:
    """An unknown section in a variable name would otherwise be ignored in silence."""
    known = list(Settings.model_fields)
    for name in environment:
        if not name.upper().startswith(_PREFIX) or name in _NOT_SETTINGS:
            continue
        section = name[len(_PREFIX) :].split("__")[0].lower()
        if section not in known:
            raise SettingsError(f"{name}: there is no section {section!r}{nearest(section, known)}.")
