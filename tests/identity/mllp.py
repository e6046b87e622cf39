"""A sender of HL7 messages: plain sockets, so that nothing of the listener's own is trusted."""

from __future__ import annotations

import socket
import ssl

import hl7

START, END = b"\x0b", b"\x1c\r"


class Sender:
    """A connection that sends messages and reads their answers."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket = tls.wrap_socket(plain, server_hostname="localhost") if tls else plain

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def raw(self, content: bytes) -> bytes:
        """Send bytes as they are and read until the end of an answer, or of the connection."""
        self.socket.sendall(content)
        answer = b""
        while not answer.endswith(END):
            try:
                piece = self.socket.recv(65536)
            except ConnectionError:
                return answer
            if not piece:
                return answer
            answer += piece
        return answer

    def send(self, message: bytes) -> hl7.Message:
        answer = self.raw(START + message + END)
        assert answer.startswith(START)
        return hl7.parse(answer[1:-2].decode("latin-1"))


def adt(
    event: str,
    control_id: str,
    *segments: str,
    sender: str = "ADT|HOSP",
    charset: str = "",
    at: str = "20260101120000",
) -> bytes:
    """A message of segments below the MSH."""
    header = f"MSH|^~\\&|{sender}|TIMEPOINT|TP|{at}||ADT^{event}^ADT_A39|{control_id}|P|2.5|||||| {charset}".replace(
        "| ", "|"
    )
    return ("\r".join([header, f"EVN|{event}|{at}", *segments]) + "\r").encode("utf-8")


def merge(new: str, old: str, control_id: str = "1", event: str = "A40", **more: str) -> bytes:
    return adt(event, control_id, f"PID|||{new}||Doe^Jane", f"MRG|{old}", **more)
