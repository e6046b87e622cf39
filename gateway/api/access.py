"""Who may use the API: bearer tokens or a signed-in session outside loopback, nobody needs one on loopback by default.

A request of another site is refused whatever it carries: browsers say where a request comes from.
"""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request

from gateway.api import sessions
from gateway.api.sessions import COOKIE, CSRF_HEADER, Session, SessionLimits
from gateway.errors import SettingsError
from gateway.settings import Web

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Role(IntEnum):
    """What a user may do; a higher role may do everything that a lower one may. A sender may store studies and
    nothing else; operators and admins may too, viewers not."""

    SENDER = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


@dataclass(frozen=True)
class User:
    """Who asks, as the audit trail names them."""

    name: str
    role: Role


LOCAL_USER = User("local", Role.ADMIN)


def is_loopback(host: str) -> bool:
    """Whether a listening address is only reachable from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Gatekeeper:
    """Tells users by their token. Made once from the settings; the tokens file is read at the start.

    Raises:
        SettingsError: when the API would be open to the network without sign-in, or the tokens file is unusable.
    """

    def __init__(self, web: Web) -> None:
        auth = web.auth
        self.limits = SessionLimits(auth.idle_minutes * 60.0, auth.longest_hours * 3600.0)
        if auth.mode == "none":
            if not is_loopback(web.host):
                raise SettingsError(f"web.host is {web.host} and web.auth.mode none: set it to token outside loopback.")
            self._users: list[tuple[str, User]] | None = None
            return
        if auth.tokens_file is None:
            raise SettingsError("web.auth.mode is token and web.auth.tokens_file is empty.")
        lines = auth.tokens_file.read_text(encoding="utf-8").splitlines()
        self._users = [_parse(line, number) for number, line in enumerate(lines, 1) if line.strip()]
        self._tokens = {user.name: token for token, user in self._users}
        if len(self._tokens) != len(self._users):
            raise SettingsError("Two lines of web.auth.tokens_file have the same name.")

    @property
    def signs_in(self) -> bool:
        """Whether users have to say who they are."""
        return self._users is not None

    def user_of(self, request: Request) -> User:
        """The user behind a request; 401 where there is none, 403 for what another site's page sent."""
        if self._users is None:
            return LOCAL_USER
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            user = self.user_with(token.strip())
            if user is not None:
                return user
        session = self.session_of(request)
        if session is not None:
            self._require_csrf(request, session)
            return next(user for _, user in self._users if user.name == session.name)
        raise HTTPException(401, "Sign in: send your token as a bearer token.", {"WWW-Authenticate": "Bearer"})

    def user_with(self, token: str) -> User | None:
        """The user of a token, compared in constant time."""
        found = None
        for known, user in self._users or ():
            if hmac.compare_digest(known.encode(), token.encode()):
                found = user
        return found

    def session_of(self, request: Request) -> Session | None:
        """The session of the request's cookie while it holds."""
        if self._users is None:
            return None
        session = sessions.opened(request.cookies.get(COOKIE, ""), self._tokens)
        return session if session and self.limits.holds(session, time.time()) else None

    def seal(self, session: Session) -> str:
        return sessions.sealed(session, self._tokens[session.name])

    def csrf(self, session: Session) -> str:
        return sessions.csrf_value(session, self._tokens[session.name])

    def _require_csrf(self, request: Request, session: Session) -> None:
        if request.method in _READING:
            return
        if not hmac.compare_digest(self.csrf(session).encode(), request.headers.get(CSRF_HEADER, "").encode()):
            raise HTTPException(403, f"Send the session's value in {CSRF_HEADER} along.")


def from_another_site(request: Request) -> bool:
    """Whether a request that changes something comes from a page that is not ours, as far as the browser says."""
    if request.method in _READING:
        return False
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return True
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("Host", "")


def _parse(line: str, number: int) -> tuple[str, User]:
    parts = line.split()
    if len(parts) != 3 or parts[0].upper() not in Role.__members__ or "|" in parts[1]:
        raise SettingsError(f"Line {number} of web.auth.tokens_file is not: role name token.")
    return parts[2], User(parts[1], Role[parts[0].upper()])


def at_least(role: Role) -> Callable[[Request], User]:
    """A dependency that admits users of `role` or higher."""

    def check(request: Request) -> User:
        user: User = request.app.state.gatekeeper.user_of(request)
        if user.role < role:
            raise HTTPException(403, f"This needs the role {role.name.lower()}.")
        return user

    return check


def may_send(request: Request) -> User:
    """A dependency that admits who may store studies over DICOMweb."""
    user: User = request.app.state.gatekeeper.user_of(request)
    if user.role is Role.VIEWER:
        raise HTTPException(403, "This needs the role sender.")
    return user


Viewer = Annotated[User, Depends(at_least(Role.VIEWER))]
Operator = Annotated[User, Depends(at_least(Role.OPERATOR))]
Admin = Annotated[User, Depends(at_least(Role.ADMIN))]
