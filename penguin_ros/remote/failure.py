# SPDX-License-Identifier: Apache-2.0
"""Why an attempt to have a server answer failed: a cause that the breaker and whoever counts can
tell from others, and words.
"""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.errors import RemoteError

UNREACHABLE = 'unreachable'
"""No connection: refused, no route, no such host, or no answer to the attempt in time."""
INSECURE = 'insecure'
"""TLS failed: a certificate that is not trusted, for another host, too old or not valid yet."""
SLOW = 'slow'
"""Connected, and then nothing came for too long."""
BROKEN_OFF = 'broken off'
"""The connection ended before the answer did."""
BUSY = 'busy'
"""The server says that it has too much to do."""
SERVER_FAULT = 'server fault'
"""The server says that it failed."""
DENIED = 'denied'
"""The server does not take this key."""
REFUSED = 'refused'
"""The server does not take this request."""
ILLEGIBLE = 'illegible'
"""The server says something that is no answer of the protocol."""
OTHER_MODEL = 'other model'
"""The server runs another model than it was asked for."""

TRANSIENT = (BROKEN_OFF, BUSY, SERVER_FAULT)
"""Causes that may be over in a moment."""


class RemoteFailed(RemoteError):
    """One attempt failed. `retry_after_s`: how long the server asks to be left alone; 0 where it
    does not say.
    """

    def __init__(self, cause: str, why: str, retry_after_s: float = 0.0) -> None:
        self.cause = cause
        self.retry_after_s = retry_after_s
        super().__init__('a remote engine gave no answer', why)
        self.args = (cause, why, retry_after_s)

    @property
    def counts_against_server(self) -> bool:
        """False where the request is to blame, or the server is merely busy."""
        return self.cause not in (REFUSED, BUSY)


@dataclass(frozen=True)
class FailedAttempt:
    """A failure with the name of the endpoint."""

    endpoint: str
    failure: RemoteFailed

    def __str__(self) -> str:
        return f'{self.endpoint} {self.failure.cause}: {self.failure.why}'
