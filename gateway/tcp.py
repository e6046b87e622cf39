"""What every DICOM socket of ours needs: Nagle's algorithm off."""

from __future__ import annotations

import socket
from typing import Any


def no_delay(event: Any) -> None:
    """Handler of pynetdicom's EVT_CONN_OPEN: send small PDUs at once.

    With Nagle's algorithm on, each C-STORE waits some 40 ms for the peer's delayed acknowledgement.
    """
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
