"""The role `hl7`: listen for messages about patients until told to stop."""

from __future__ import annotations

import os
import socket

import structlog

from gateway.context import open_gateway
from gateway.errors import SettingsError
from gateway.heartbeat import leave
from gateway.hl7.listener import Hl7Listener
from gateway.roles import beat_until, until_told_to_stop
from gateway.settings import Settings

_log = structlog.get_logger()


def run_hl7(settings: Settings, supervised: bool = False) -> None:
    """Take HL7 messages until told to stop.

    Raises:
        SettingsError: when the listener is not switched on, or its port cannot be had.
    """
    if not settings.hl7.enabled:
        raise SettingsError("hl7.enabled is false: nothing listens for HL7 messages.")
    gateway = open_gateway(settings)
    name = f"{socket.gethostname()}-hl7-{os.getpid()}"
    listener = Hl7Listener(gateway)
    with until_told_to_stop(supervised) as stop:
        try:
            listener.start()
        except OSError as error:
            raise SettingsError(f"hl7.port {settings.hl7.port} cannot be listened on: {error.strerror}.") from None
        _log.info("listening for HL7 messages", port=listener.port)
        beat_until(gateway, name, "hl7", stop)
        listener.stop()
    leave(gateway, name)
    gateway.database.dispose()
