"""A sender behind an Ethernet of MTU 1500: a network namespace of its own, joined to this one by a pair of interfaces.

Loopback carries 64 kB in a segment; what Nagle's algorithm and delayed acknowledgements cost shows only on a link
whose segments are as long as those of a hospital's network. Segmentation is left to nobody: no interface sends more
than one segment at a time.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

MTU = 1500
_HERE, _THERE = "10.213.77.1", "10.213.77.2"


@dataclass(frozen=True)
class Link:
    """`prefix` runs a command at the far end; `address` is this end."""

    prefix: tuple[str, ...]
    address: str


@contextmanager
def ethernet() -> Iterator[Link]:
    """Made now, taken away at the end.

    Raises:
        PermissionError: when this is not root.
    """
    if os.geteuid() != 0:
        raise PermissionError("--ethernet makes a network namespace: run it as root, or leave it out")
    name, near, far = f"tpbench{os.getpid()}", f"tpn{os.getpid()}", f"tpf{os.getpid()}"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        inside = ("netns", "exec", name, "ip")
        _ip("link", "set", near, "mtu", str(MTU), "gso_max_segs", "1", "up")
        _ip("addr", "add", f"{_HERE}/24", "dev", near)
        _ip(*inside, "link", "set", far, "mtu", str(MTU), "gso_max_segs", "1", "up")
        _ip(*inside, "addr", "add", f"{_THERE}/24", "dev", far)
        yield Link(("ip", "netns", "exec", name), _HERE)
    finally:
        _ip("netns", "delete", name)  # and with it the pair of interfaces


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
