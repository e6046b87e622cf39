"""What can go wrong in the gateway, in the operator's words.

Each class docstring is the sentence an operator reads; the message of an instance adds the particulars. Whether the
engine tries again is a question of class: `Retriable` may go away by itself, `Permanent` needs a person. DIMSE and HTTP
status codes are chosen at the edges, never here. No message holds patient data.
"""

from __future__ import annotations


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
