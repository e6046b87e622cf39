"""What can go wrong in the gateway, in the operator's words.

Each class docstring is the sentence an operator reads; the message of an instance adds the particulars. Whether the
engine tries again is a question of class: `Retriable` may go away by itself, `Permanent` needs a person. DIMSE and HTTP
status codes are chosen at the edges, never here. No message holds patient data.
"""

from __future__ import annotations

_OURS = (
    "dbos.", "gateway.", "deidentify.", "inference.", "longitudinal.", "timepoint_fhir.", "training.", "timepoint.",
)  # fmt: skip


def is_ours(error: BaseException) -> bool:
    """Whether an error was raised on purpose by this program, or came through the engine, which lets only such pass."""
    return type(error).__module__.startswith(_OURS)


def reason_of(error: BaseException) -> str:
    """What may be stored and shown of an error: the message of one of ours, which holds no patient values; of any other
    its kind, because a library quotes what it read."""
    return str(error) if is_ours(error) else f"an unexpected {type(error).__name__}; the log has the place"


class TimepointError(Exception):
    """The gateway could not do what was asked."""

    @property
    def explanation(self) -> str:
        """The operator's sentence, with the particulars of this occurrence where there are any."""
        sentence = " ".join((type(self).__doc__ or "").split())
        detail = str(self)
        return f"{sentence} {detail}".strip() if detail else sentence


class Permanent(TimepointError):
    """Trying again will not help: something has to be changed first."""


class Unexpected(TimepointError):
    """A step failed in a way that nobody foresaw."""


class Retriable(TimepointError):
    """This may go away by itself: it is tried again later."""


class SettingsError(Permanent):
    """The configuration is not valid; correct the file or the environment variable and start again."""


class NotFound(Permanent):
    """There is nothing under this key."""


class NotAllowed(Permanent):
    """The present state does not allow this action."""


class DatabaseNotReady(Retriable):
    """The database does not answer or is locked; check that it runs and that its disk is not full."""


class DatabaseOutdated(Permanent):
    """The database has another schema version than this program; run `timepoint db upgrade`."""


class StorageFull(Retriable):
    """The disk of the image store is nearly full; free space and the sender's next attempt is accepted."""


class StorageBroken(Retriable):
    """The image store cannot be written; check the disk and the rights on its folder."""


class BlobMissing(Permanent):
    """A stored object is not in the image store; restore it from the backup."""


class BlobDamaged(Permanent):
    """A stored object does not match its recorded hash; restore it from the backup."""


class AuditBroken(Permanent):
    """The audit trail was changed after it was written."""


class Unreadable(Permanent):
    """The received data set cannot be understood; the bytes are kept in quarantine."""


class IdentityConflict(Permanent):
    """The patient identity of this study is not certain; a person has to decide."""
