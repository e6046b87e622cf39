"""Who may open an association: calling AE title and the host it calls from must belong to a known peer.

Without any known peer only this machine itself (loopback) may send, which lets a first try work and a forgotten list
stay closed.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from dataclasses import dataclass, field

from gateway.settings import Dicom, Peer

_RESOLVED_FOR_S = 60.0


@dataclass
class Admission:
    """The allow-list of one node; host names are resolved again after a minute."""

    dicom: Dicom
    _addresses: dict[str, tuple[float, frozenset[str]]] = field(default_factory=dict)

    def refusal(self, calling_ae: str, address: str) -> str | None:
        """Why an association is refused, or None where it is admitted."""
        if self.dicom.allow_unknown_peers:
            return None
        if not self.dicom.peers:
            return None if is_loopback(address) else "no peers are listed, so only this machine may send"
        if self.peer(calling_ae, address) is not None:
            return None
        if any(p.ae_title.strip() == calling_ae.strip() for p in self.dicom.peers):
            return "the calling AE title is listed for another host"
        return "the calling AE title is not listed among dicom.peers"

    def peer(self, calling_ae: str, address: str) -> Peer | None:
        """The listed peer that calls: AE title and host."""
        named = (p for p in self.dicom.peers if p.ae_title.strip() == calling_ae.strip())
        return next((p for p in named if _plain(address) in self._resolve(p.host)), None)

    def _resolve(self, host: str) -> frozenset[str]:
        until, known = self._addresses.get(host, (0.0, frozenset[str]()))
        if time.monotonic() < until:
            return known
        try:
            found = frozenset(_plain(str(info[4][0])) for info in socket.getaddrinfo(host, None))
        except OSError:
            found = frozenset()  # a name that does not resolve admits nobody
        self._addresses[host] = (time.monotonic() + _RESOLVED_FOR_S, found)
        return found


def _plain(address: str) -> str:
    parsed = ipaddress.ip_address(address.split("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)


def is_loopback(address: str) -> bool:
    """Whether an IP address is one of this machine alone."""
    return ipaddress.ip_address(_plain(address)).is_loopback
