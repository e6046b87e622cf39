"""`/api/v1/session`: sign in with a token once; a cookie carries the session from then on.

The cookie holds the user's name and two times, sealed with the user's own token (HMAC-SHA-256): every web node can
check it without shared state, and it ends with the token. It is HttpOnly and SameSite=Strict; whatever changes
something must send the session's CSRF value along as well, which scripts of other sites cannot read.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass

COOKIE = "timepoint-session"
CSRF_HEADER = "X-Timepoint-Csrf"


@dataclass(frozen=True)
class Session:
    """Who signed in, and when (seconds since the epoch): `started` at sign-in, `seen` at the last renewal."""

    name: str
    started: int
    seen: int


@dataclass(frozen=True)
class SessionLimits:
    """A session ends `idle_s` after it was last used and `longest_s` after sign-in, whichever is earlier."""

    idle_s: float
    longest_s: float

    def holds(self, session: Session, now: float) -> bool:
        return now - session.seen <= self.idle_s and now - session.started <= self.longest_s

    def due_for_renewal(self, session: Session, now: float) -> bool:
        """Whether the cookie should be written again; not at each of a hundred slices."""
        return now - session.seen > min(60.0, self.idle_s / 4)


def begin(name: str, now: float | None = None) -> Session:
    moment = int(time.time() if now is None else now)
    return Session(name, moment, moment)


def renewed(session: Session, now: float) -> Session:
    return Session(session.name, session.started, int(now))


def sealed(session: Session, token: str) -> str:
    """The cookie's value."""
    plain = f"{session.name}|{session.started}|{session.seen}"
    return f"{plain}|{_mac(token, 'session', plain)}"


def opened(value: str, tokens: dict[str, str]) -> Session | None:
    """The session of a cookie, None where it was not sealed with the token of its user."""
    plain, _, seal = value.rpartition("|")
    parts = plain.split("|")
    if len(parts) != 3 or parts[0] not in tokens or not (parts[1].isdigit() and parts[2].isdigit()):
        return None
    if not hmac.compare_digest(_mac(tokens[parts[0]], "session", plain).encode(), seal.encode()):
        return None
    return Session(parts[0], int(parts[1]), int(parts[2]))


def csrf_value(session: Session, token: str) -> str:
    """What a page sends with everything that changes something."""
    return _mac(token, "csrf", f"{session.name}|{session.started}")


def _mac(token: str, purpose: str, content: str) -> str:
    return hmac.new(token.encode(), f"{purpose}:{content}".encode(), hashlib.sha256).hexdigest()
