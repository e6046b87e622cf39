"""The reactor of pynetdicom never takes a response that one of its own methods waits for."""

from __future__ import annotations

import sys

from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

from gateway.pynetdicom_race import guard


def test_every_echo_is_answered_at_once() -> None:
    """Threads are switched in the middle of nearly every line, which lost about one response in some thousands."""
    server = AE("ARCHIVE")
    server.add_supported_context(Verification)
    running = server.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, lambda _: 0)])
    client = AE("TIMEPOINT")
    client.dimse_timeout = 5
    client.add_requested_context(Verification)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    association = guard(client.associate("127.0.0.1", running.server_address[1], ae_title="ARCHIVE"))
    try:
        for _ in range(800):
            assert association.send_c_echo().Status == 0
        assert association.is_established
    finally:
        sys.setswitchinterval(interval)
        association.release()
        running.shutdown()


def test_an_association_that_ended_is_not_waited_for() -> None:
    server = AE("ARCHIVE")
    server.add_supported_context(Verification)
    running = server.start_server(("127.0.0.1", 0), block=False)
    client = AE("TIMEPOINT")
    client.add_requested_context(Verification)
    association = guard(client.associate("127.0.0.1", running.server_address[1], ae_title="ARCHIVE"))
    association.abort()
    association._reactor_checkpoint.clear()
    running.shutdown()
    assert not association.is_established
