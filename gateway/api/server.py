"""The web role: uvicorn around the application, until told to stop."""

from __future__ import annotations

import os
import socket
import threading

import structlog
import uvicorn

from gateway.api.app import create_app
from gateway.associations import break_those_of_dead_receivers
from gateway.context import open_gateway
from gateway.engine_dbos import DbosQueue
from gateway.heartbeat import leave
from gateway.roles import beat_until, until_told_to_stop
from gateway.settings import Settings

_log = structlog.get_logger()
_FOLLOWERS_S = 3
"""Pages that follow the events hold a connection open for ever; at the end they are given so long."""


def run_web(settings: Settings, supervised: bool = False) -> None:
    """Serve API and pages until told to stop."""
    gateway = open_gateway(settings)
    break_those_of_dead_receivers(gateway.database)  # studies come in here too, over STOW-RS
    queue = DbosQueue(settings.engine.url)
    app = create_app(gateway, queue)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            settings.web.host,
            settings.web.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_FOLLOWERS_S,
        )
    )
    name = f"{socket.gethostname()}-web-{os.getpid()}"
    with until_told_to_stop(supervised) as stop:
        thread = threading.Thread(target=server.run, name="uvicorn", daemon=True)
        thread.start()
        _log.info("serving", host=settings.web.host, port=settings.web.port)
        beat_until(gateway, name, "web", stop)
        server.should_exit = True
        thread.join(20)
    leave(gateway, name)
    queue.close()
