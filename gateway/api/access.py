"""Who may use the API: bearer tokens with a role outside loopback, nobody needs one on loopback by default."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from gateway.errors import SettingsError
from gateway.settings import Web


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
        if web.auth.mode == "none":
            if not is_loopback(web.host):
                raise SettingsError(f"web.host is {web.host} and web.auth.mode none: set it to token outside loopback.")
            self._users: list[tuple[str, User]] | None = None
            return
        if web.auth.tokens_file is None:
            raise SettingsError("web.auth.mode is token and web.auth.tokens_file is empty.")
        lines = web.auth.tokens_file.read_text(encoding="utf-8").splitlines()
        self._users = [_parse(line, number) for number, line in enumerate(lines, 1) if line.strip()]

    def user_of(self, request: Request) -> User:
        """The user behind a request; 401 where there is none."""
        if self._users is None:
            return LOCAL_USER
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            for known, user in self._users:
                if hmac.compare_digest(known.encode(), token.strip().encode()):
                    return user
        raise HTTPException(401, "Sign in: send your token as a bearer token.", {"WWW-Authenticate": "Bearer"})


def _parse(line: str, number: int) -> tuple[str, User]:
    parts = line.split()
    if len(parts) != 3 or parts[0].upper() not in Role.__members__:
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
