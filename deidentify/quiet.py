"""Silence around pydicom: its warnings and log lines quote the values that they complain about."""

from __future__ import annotations

import logging
import threading
import warnings
from contextlib import ContextDecorator, ExitStack
from types import TracebackType

from pydicom import config

_lock = threading.Lock()
_depth = 0
_undo = ExitStack()


class quiet(ContextDecorator):
    """No warning, no log line and no value validation of pydicom inside.

    These are settings of the process, so the first of several threads to enter sets them and the last to leave
    restores them.
    """

    def __enter__(self) -> None:
        global _depth
        with _lock:
            if _depth == 0:
                _silence()
            _depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _depth
        with _lock:
            _depth -= 1
            if _depth == 0:
                _undo.close()


def _silence() -> None:
    _undo.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    _undo.enter_context(config.disable_value_validation())
    logger = logging.getLogger("pydicom")
    _undo.callback(setattr, logger, "disabled", logger.disabled)
    logger.disabled = True
