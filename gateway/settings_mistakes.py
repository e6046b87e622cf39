"""What is wrong with a configuration, said to the person who wrote it; no value is quoted, it may be a secret."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError


def describe(error: ValidationError, file: Path | None, root: type[BaseModel]) -> str:
    """All mistakes that a validation of `root` found, and the file (or the environment) that they are in."""
    where = f"{file or 'the environment'}"
    return (
        "; ".join(_sentence(item["loc"], item["type"], item["msg"], root) for item in error.errors())
        + f" (in {where})."
    )


def _sentence(location: tuple[int | str, ...], kind: str, message: str, root: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in location)
    if kind != "extra_forbidden":
        return f"{key}: {message}" if key else message
    return f"unknown key {key!r}{nearest(str(location[-1]), _known_keys(location[:-1], root))}"


def _known_keys(location: tuple[int | str, ...], root: type[BaseModel]) -> list[str]:
    """Names that are valid at a place in the configuration."""
    model = root
    for part in location:
        if isinstance(part, int):
            continue
        model = _model_of(model.model_fields[part].annotation)
    return list(model.model_fields)


def _model_of(annotation: Any) -> type[BaseModel]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(_model_of(a) for a in annotation.__args__ if a is not type(None) and a is not Ellipsis)


def nearest(name: str, known: list[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, else all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(sorted(known))}"
