"""The web role's application on a real socket of this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from gateway_receive.node import wait_until

from gateway.api.app import create_app
from gateway.context import Gateway
from gateway.engine import InlineEngine


@contextmanager
def running_web(gateway: Gateway) -> Iterator[str]:
    """Serve until the block ends; yields the base URL."""
    config = uvicorn.Config(create_app(gateway, InlineEngine()), log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
