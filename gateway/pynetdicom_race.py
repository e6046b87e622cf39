"""A guard against a race in pynetdicom 3.0: its reactor can take the response before the method that waits for it.

`Association.send_*` clears the reactor's checkpoint and looks whether the reactor is paused. The reactor calls itself
paused a moment before it waits, so under load it can pass the checkpoint, be called paused, and then take the response
from the queue: the sender waits for its time-out. Here clearing the checkpoint lasts until the reactor really waits.
"""

from __future__ import annotations

import threading
import time

from pynetdicom.association import Association


class _Checkpoint(threading.Event):
    """Set while the reactor may run."""

    def __init__(self, association: Association) -> None:
        super().__init__()
        self.set()
        self._association = association

    def clear(self) -> None:
        """Return when the reactor stands here or has ended; it never waits for itself."""
        super().clear()
        if threading.current_thread() is self._association:
            return
        while self._association.is_alive() and not self._cond._waiters:  # type: ignore[attr-defined]
            time.sleep(0.0001)


def guard(association: Association) -> Association:
    """The same association, of which no `send_*` loses its response; to be called before the first of them."""
    association._reactor_checkpoint = _Checkpoint(association)
    return association
