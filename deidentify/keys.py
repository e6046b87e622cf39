"""Secret keys and what is derived from them: pseudonyms, UIDs, date shifts, surrogates.

Everything is HMAC-SHA256 under a sub-key for one purpose and one project, so that two recipients of exports cannot join
them and nobody without the key can enumerate an identifier space.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from functools import lru_cache
from pathlib import Path

from pydicom._uid_dict import UID_dictionary

from deidentify.errors import KeyFileError

FORMAT = "timepoint-deidentify-key/1"
_STANDARD_UID = re.compile(r"1\.2\.840\.10008(?:\.(?:0|[1-9]\d{0,2})){1,10}|1\.2\.840\.10008\.6\.1\.[1-9]\d{0,3}")
SHORTEST_SHIFT_DAYS = 365
LONGEST_SHIFT_DAYS = 3650


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, hashlib.sha256)


class KeyRing:
    """The sub-keys of one project.

    Raises `KeyFileError` from `load` and `create`. Identifiers depend on the master key, the project label and the
    input only, so two processes, and two releases of this program, agree on them.
    """

    def __init__(self, master: bytes, key_id: str, project: str = "default") -> None:
        if len(master) != 32:
            raise KeyFileError(f"the key has {len(master)} bytes; 32 are needed")
        self._master = master
        self.key_id = key_id
        self.project = project
        self._pseudonym_key = self._sub_key("pseudonym")
        self._uid_key = self._sub_key("uid")
        self._shift_key = self._sub_key("date-shift")
        self._surrogate_key = self._sub_key("surrogate")
        self._token_key = self._sub_key("token")
        self.uid = lru_cache(maxsize=65536)(self._uid)

    def __repr__(self) -> str:
        return f"KeyRing(key_id={self.key_id!r}, project={self.project!r})"

    def _sub_key(self, purpose: str) -> bytes:
        return _hmac(self._master, f"timepoint\0{self.project}\0{purpose}".encode())

    @classmethod
    def load(cls, path: Path | str) -> KeyRing:
        """Read a key file that only its owner can read (mode 0600 or 0400)."""
        path = Path(path)
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            text = path.read_text("ascii")
        except FileNotFoundError:
            raise KeyFileError(f"no key file at {path}; create one and keep it safe") from None
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFileError(f"cannot read the key file {path}: {type(error).__name__}") from None
        if mode & 0o077:
            raise KeyFileError(f"{path} has mode {mode:04o} and others may read it; run: chmod 0400 {path}")
        return cls._parse(text, path)

    @classmethod
    def _parse(cls, text: str, path: Path) -> KeyRing:
        try:
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise KeyFileError(f"{path} is not a key file of format {FORMAT}")
            return cls(bytes.fromhex(content["key"]), str(content["key_id"]))
        except (ValueError, KeyError, TypeError):
            raise KeyFileError(f"{path} is not a key file of format {FORMAT}") from None

    @classmethod
    def create(cls, path: Path | str) -> KeyRing:
        """Write a new random key with mode 0600. An existing file is never overwritten."""
        path = Path(path)
        content = {"format": FORMAT, "key_id": secrets.token_hex(4), "key": secrets.token_hex(32)}
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise KeyFileError(f"{path} exists already, and a key is never overwritten") from None
        except OSError as error:
            raise KeyFileError(f"cannot write the key file {path}: {error.strerror}") from None
        with os.fdopen(descriptor, "w") as stream:
            stream.write(json.dumps(content, indent=1) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        return cls.load(path)

    def for_project(self, project: str) -> KeyRing:
        """The same key for another recipient: none of its identifiers equal those of this project."""
        return KeyRing(self._master, self.key_id, project)

    def pseudonym(self, surrogate: bytes) -> str:
        """16 characters of Base32 (80 bit) for the person with this surrogate."""
        return base64.b32encode(_hmac(self._pseudonym_key, surrogate))[:16].decode()

    def _uid(self, original: str) -> str:
        """`2.25.` and 128 bit for any UID that is not the DICOM standard's own, which stays as it is (PS3.5 B.2)."""
        if original in UID_dictionary or _STANDARD_UID.fullmatch(original):
            return original
        return f"2.25.{int.from_bytes(_hmac(self._uid_key, original.encode())[:16], 'big')}"

    def date_shift_days(self, surrogate: bytes) -> int:
        """Whole days, 365 to 3650, by which every date of this person moves backward."""
        number = int.from_bytes(_hmac(self._shift_key, surrogate)[:16], "big")
        return SHORTEST_SHIFT_DAYS + number % (LONGEST_SHIFT_DAYS - SHORTEST_SHIFT_DAYS + 1)

    def surrogate(self, identity: str) -> bytes:
        """128 bit for an identity, for tools without a vault; the gateway stores random surrogates instead."""
        return _hmac(self._surrogate_key, identity.encode())[:16]

    def token(self, text: str) -> str:
        """10 letters that stand for a text that must stay distinguishable but unreadable."""
        return base64.b32encode(_hmac(self._token_key, text.encode()))[:10].decode()
