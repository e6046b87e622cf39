"""What a training run is made of; the defaults are the production configuration."""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class ConfigError(ValueError):
    """The training configuration has an unknown key or an impossible value; the message names it."""


class TrainConfig(BaseModel):
    """A training run. Lengths of the recurrent part and its regularisation are those of the production plan.

    `patients` and `seed` also say what to simulate when no data is given. `share_validation` is halved: one half
    stops the training, the other calibrates the intervals. `unknown_type_share` is the share of patients that are
    shown without their tumour type in each epoch, so that the model works before a person has stated it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "forecast-1"
    version: str = "1.0"
    patients: Annotated[int, Field(ge=60)] = 14_300
    seed: int = 20_260
    hidden: Annotated[int, Field(ge=4, le=1024)] = 128
    layers: Annotated[int, Field(ge=1, le=6)] = 3
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    batch_patients: Annotated[int, Field(ge=1)] = 32
    epochs: Annotated[int, Field(ge=1)] = 200
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    patience: Annotated[int, Field(ge=1)] = 30
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    share_validation: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    share_test: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    unknown_type_share: Annotated[float, Field(ge=0, lt=1)] = 0.12
    coverage: Annotated[float, Field(gt=0.5, lt=1)] = 0.90
    threads: Annotated[int, Field(ge=1)] = 1

    @classmethod
    def from_toml(cls, file: Path) -> Self:
        """Read a TOML file whose keys are the fields; those it leaves out keep their defaults.

        Raises:
            ConfigError: naming the key, and the nearest known one where the key is unknown.
        """
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{file} cannot be read as TOML: {error}") from None
        for key in values.keys() - cls.model_fields.keys():
            near = difflib.get_close_matches(key, cls.model_fields, n=1, cutoff=0.0)
            raise ConfigError(f"{file}: unknown key {key}; the nearest known one is {near[0]}")
        try:
            return cls(**values)
        except ValidationError as error:
            issue = error.errors(include_url=False)[0]
            raise ConfigError(f"{file}: {'.'.join(map(str, issue['loc']))}: {issue['msg']}") from None

    def sha256(self) -> str:
        """Hash of everything that decides the result."""
        return hashlib.sha256(self.model_dump_json(exclude={"threads"}).encode()).hexdigest()
