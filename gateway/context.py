"""What every role of the gateway opens: settings, database, object stores, folders and keys."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import sqlalchemy as sa
from sqlmodel import select

from deidentify.keys import KeyRing
from deidentify.profile import Profile
from gateway.blobs import RECEIVED, RESULTS, BlobStore, open_blobs
from gateway.database import open_database, read_scope, upgrade
from gateway.errors import SettingsError
from gateway.settings import Settings
from gateway.tables import Analysis, VaultEntry
from gateway.vault_key import VaultKey


@dataclass(frozen=True)
class Gateway:
    """The open gateway. Make it with `open_gateway`; one per process."""

    settings: Settings
    database: sa.Engine
    received: BlobStore
    results: BlobStore

    @property
    def research_folder(self) -> Path:
        """Root of the research zone: de-identified images, masks and exports, no identity."""
        return self.settings.data_dir / "research"

    @property
    def exports_folder(self) -> Path:
        return self.settings.data_dir / "exports"

    @property
    def models_folder(self) -> Path:
        """Where installed models are kept, beside those that ship."""
        return self.settings.data_dir / "models"

    @cached_property
    def keys(self) -> KeyRing:
        """The de-identification keys.

        Made at the first start of a new gateway. Once a study has been de-identified, a missing key file is an error:
        a new key would give every patient a second pseudonym.

        Raises:
            SettingsError: when the key file is missing although studies were de-identified with it.
        """
        file = self.settings.deidentify.key_file
        if file is None:
            raise SettingsError("deidentify.key_file is empty.")
        if not file.exists():
            with read_scope(self.database) as session:
                used = session.exec(select(Analysis.id).limit(1)).first()
            if used is not None:
                raise SettingsError(f"{file} is missing although studies were analysed: restore it from the backup.")
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return KeyRing.create(file).for_project(self.settings.deidentify.project)
        return KeyRing.load(file).for_project(self.settings.deidentify.project)

    @cached_property
    def key_rings(self) -> tuple[KeyRing, ...]:
        """The de-identification key in use and those rotated out, under which earlier studies are found."""
        file = self.settings.deidentify.key_file
        retired = sorted(file.parent.glob(f"{file.name}.*")) if file is not None else []
        project = self.settings.deidentify.project
        return (self.keys, *(KeyRing.load(path).for_project(project) for path in retired))

    @cached_property
    def vault_key(self) -> VaultKey:
        """The key of the vault, made at the first start; once the vault has rows, a missing file is an error.

        Raises:
            SettingsError: when the file is missing although the vault has rows, or is no key file.
        """
        file = self.settings.deidentify.vault_key_file
        if file is None:
            raise SettingsError("deidentify.vault_key_file is empty.")
        if file.exists():
            return VaultKey.load(file)
        with read_scope(self.database) as session:
            used = session.exec(select(VaultEntry.id).limit(1)).first()
        if used is not None:
            raise SettingsError(f"{file} is missing although the vault has rows: restore it from the backup.")
        return VaultKey.create(file)

    def replace_vault_key(self, key: VaultKey) -> None:
        """Go on with another vault key."""
        self.__dict__["vault_key"] = key

    def forget_keys(self) -> None:
        """Read the de-identification keys again at their next use."""
        self.__dict__.pop("keys", None)
        self.__dict__.pop("key_rings", None)

    @cached_property
    def profile(self) -> Profile:
        file = self.settings.deidentify.profile
        return Profile.load(file) if file else Profile.default()


def open_gateway(settings: Settings) -> Gateway:
    """Open database (brought to the schema of this program) and object stores.

    Raises:
        DatabaseNotReady: when the database does not answer.
    """
    database = open_database(settings.database.url, settings.database.password_file)
    upgrade(database)
    storage = settings.storage
    return Gateway(
        settings,
        database,
        received=open_blobs(storage.url, RECEIVED, storage.min_free_mb),
        results=open_blobs(storage.url, RESULTS),
    )
