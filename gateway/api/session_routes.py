"""`/api/v1/session`: who am I, sign in, sign out."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel

from gateway import audit
from gateway.api import sessions
from gateway.api.access import LOCAL_USER, Gatekeeper, Role, User
from gateway.api.routes import Open
from gateway.api.sessions import COOKIE, Session
from gateway.context import Gateway
from gateway.database import session_scope

router = APIRouter(prefix="/api/v1", tags=["session"])


class SignIn(BaseModel):
    """The token of a user; in a body, because addresses end up in logs."""

    token: str


@router.get("/session")
def who(request: Request) -> dict[str, Any]:
    """Who is signed in, with the value that changes need; 401 where nobody is and somebody must."""
    gatekeeper: Gatekeeper = request.app.state.gatekeeper
    if not gatekeeper.signs_in:
        return _told(LOCAL_USER, "")
    session = gatekeeper.session_of(request)
    user = gatekeeper.user_of(request)
    return _told(user, gatekeeper.csrf(session) if session else "")


@router.post("/session")
def sign_in(request: Request, response: Response, gateway: Open, stated: SignIn) -> dict[str, Any]:
    """Begin a session."""
    gatekeeper: Gatekeeper = request.app.state.gatekeeper
    if not gatekeeper.signs_in:
        return _told(LOCAL_USER, "")
    user = gatekeeper.user_with(stated.token.strip())
    if user is None or user.role is Role.SENDER:
        raise HTTPException(401, "No user of these pages has this token.")
    session = sessions.begin(user.name)
    set_cookie(request, response, gatekeeper, session)
    _note(gateway, user, "session.begin")
    return _told(user, gatekeeper.csrf(session))


@router.delete("/session", status_code=204)
def sign_out(response: Response) -> None:
    """End the session in this browser."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


def set_cookie(request: Request, response: Response, gatekeeper: Gatekeeper, session: Session) -> None:
    response.set_cookie(
        COOKIE,
        gatekeeper.seal(session),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path="/",
    )


def renew(request: Request, response: Response) -> None:
    """Carry a session that is in use on."""
    gatekeeper: Gatekeeper = request.app.state.gatekeeper
    session = gatekeeper.session_of(request)
    now = time.time()
    if session is not None and gatekeeper.limits.due_for_renewal(session, now) and "set-cookie" not in response.headers:
        set_cookie(request, response, gatekeeper, sessions.renewed(session, now))


def _told(user: User, csrf: str) -> dict[str, Any]:
    return {"name": user.name, "role": user.role.name.lower(), "csrf": csrf}


def _note(gateway: Gateway, user: User, action: str) -> None:
    with session_scope(gateway.database) as session:
        audit.append(session, actor=user.name, action=action)
