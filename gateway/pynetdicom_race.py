"""A guard against a race in pynetdicom 3.0: its reactor can take the response before the method that waits for it.

`Association.send_c_*` clears the reactor's checkpoint and looks whether the reactor is paused. The reactor calls itself
paused a moment before it waits, so under load it can pass the checkpoint, be called paused, and then take the response
from the queue: the sender waits for its time-out. Here we wait until the reactor really waits.
"""

from __future__ import annotations

import time

from pynetdicom.association import Association


def hold_reactor(association: Association) -> None:
    """Return when the association's reactor stands at its checkpoint, or has ended; call it before `send_*`.

    The `send_*` method lets the reactor go again when it has its response.
    """
    checkpoint = association._reactor_checkpoint
    checkpoint.clear()
    while association.is_alive() and not checkpoint._cond._waiters:  # type: ignore[attr-defined]
        time.sleep(0.0001)
