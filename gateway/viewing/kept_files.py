"""Files that are made once and kept beside what they were made from, so that they go when that goes."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = "display"
_guard = threading.Lock()
_locks: dict[Path, threading.Lock] = {}


@dataclass(frozen=True)
class KeptFile:
    """A file with what is stated of it; `etag` is the SHA-256 of its content."""

    path: Path
    etag: str
    facts: dict[str, Any]


def kept(folder: Path, name: str, make: Callable[[], tuple[bytes, dict[str, Any]]]) -> KeptFile:
    """The file `name` below `folder`, made by `make` (content and facts) where it is not there yet.

    It appears whole or not at all; two requests at once make it once.
    """
    target = folder / FOLDER / name
    stated = target.with_name(f"{name}.json")
    with _alone(target):
        if not stated.is_file():
            content, facts = make()
            target.parent.mkdir(exist_ok=True)
            _write(target, content)
            _write(stated, json.dumps({"etag": hashlib.sha256(content).hexdigest(), "facts": facts}).encode())
        told = json.loads(stated.read_text(encoding="utf-8"))
    return KeptFile(target, told["etag"], told["facts"])


def digest(*parts: object) -> str:
    """A short name for what a file was made from."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with _guard:
        lock = _locks.setdefault(path, threading.Lock())
    with lock:
        yield
    with _guard:
        _locks.pop(path, None)


def _write(target: Path, content: bytes) -> None:
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    partial.write_bytes(content)
    partial.replace(target)
