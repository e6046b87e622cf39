"""The key of the vault: a file of its own, never in the database, 0600, with room for the key it replaces."""

from __future__ import annotations

import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import SettingsError

FORMAT = "timepoint-vault-key/1"
_ID_BYTES, _NONCE_BYTES = 4, 12


@dataclass(frozen=True)
class VaultKey:
    """`keys` by key id (8 hex digits); `current` seals, all of them open."""

    path: Path
    current: str
    keys: dict[str, bytes]

    def __repr__(self) -> str:
        return f"VaultKey(current={self.current!r})"

    @classmethod
    def load(cls, path: Path) -> VaultKey:
        """Raises `SettingsError` for a file that is missing, readable by others or no vault key."""
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            content = json.loads(path.read_text("ascii"))
        except FileNotFoundError:
            raise SettingsError(f"{path} is missing: restore it from the backup.") from None
        except (OSError, ValueError) as error:
            raise SettingsError(f"{path} cannot be read as a vault key ({type(error).__name__}).") from None
        if mode & 0o077:
            raise SettingsError(f"{path} has mode {mode:04o} and others may read it; run: chmod 0400 {path}")
        try:
            keys = {str(key_id): bytes.fromhex(key) for key_id, key in content["keys"].items()}
            sound = content["format"] == FORMAT and all(len(key) == 32 for key in keys.values())
            current = str(content["current"])
        except (KeyError, TypeError, ValueError, AttributeError):
            sound, keys, current = False, {}, ""
        if not sound or current not in keys:
            raise SettingsError(f"{path} is not a vault key of format {FORMAT}.")
        return cls(path, current, keys)

    @classmethod
    def create(cls, path: Path) -> VaultKey:
        """A new random key in a new file; an existing file is never overwritten."""
        if path.exists():
            raise SettingsError(f"{path} exists already, and a key is never overwritten.")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return cls(path, "", {})._with_new()._written()

    def with_successor(self) -> VaultKey:
        """The same file with a new key that seals from now on; the former ones still open."""
        return self._with_new()._written()

    def without_predecessors(self) -> VaultKey:
        """The same file with the current key only: what is sealed with another one can never be opened again."""
        return VaultKey(self.path, self.current, {self.current: self.keys[self.current]})._written()

    def _with_new(self) -> VaultKey:
        key_id = secrets.token_hex(_ID_BYTES)
        return VaultKey(self.path, key_id, {**self.keys, key_id: secrets.token_bytes(32)})

    def _written(self) -> VaultKey:
        """Put in place as a whole: a crash leaves the former file or this one."""
        keys = {key_id: key.hex() for key_id, key in self.keys.items()}
        content = {"format": FORMAT, "current": self.current, "keys": keys}
        partial = self.path.with_name(f".{self.path.name}.partial-{os.getpid()}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(json.dumps(content, indent=1) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(self.path)
        return self

    def seal(self, plain: bytes, context: str) -> bytes:
        """AES-256-GCM; `context` is bound to it, so that a sealed value cannot be moved to another row."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self.keys[self.current]).encrypt(nonce, plain, context.encode())
        return bytes.fromhex(self.current) + nonce + sealed

    def open(self, sealed: bytes, context: str) -> bytes:
        """Raises `SettingsError` for what was sealed with a key that this file does not hold, or was changed."""
        key = self.keys.get(sealed[:_ID_BYTES].hex())
        if key is None:
            raise SettingsError(f"A row of the vault was sealed with another key than those in {self.path}.")
        nonce = sealed[_ID_BYTES : _ID_BYTES + _NONCE_BYTES]
        try:
            return AESGCM(key).decrypt(nonce, sealed[_ID_BYTES + _NONCE_BYTES :], context.encode())
        except InvalidTag:
            raise SettingsError(
                "A row of the vault was changed, or its key is not the one it was sealed with."
            ) from None
