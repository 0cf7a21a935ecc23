# SPDX-License-Identifier: Apache-2.0
"""Who may come in: tokens that are printed once, and the cookies they become.

An address of the loopback is no boundary: any page that the operator has open can send requests to
it, and a name server can make a foreign name mean it. So every request needs a Host that is ours,
every WebSocket an Origin that is ours, and everything but the login a cookie, which no other site's
page can make the browser send (SameSite=Strict).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable

from penguin_ros.http_site.site import Denied

COOKIE = 'penguin_console'
MAX_SESSIONS = 256
SESSION_S = 24 * 3600.0
TOKEN_BYTES = 24


class Doorkeeper:
    """Tokens and sessions. A token that is printed works once; then a new one is made, which
    `on_token` gets. `secret` is one that a person gave and that always works.

    Nothing is kept in the clear that would let somebody in again: a session is known by a digest.
    """

    def __init__(
        self, on_token: Callable[[str], None], clock: Callable[[], float], secret: str = ''
    ) -> None:
        self._on_token = on_token
        self._clock = clock
        self._secret = secret
        self._token = ''
        self._sessions: OrderedDict[bytes, float] = OrderedDict()  # digest: end on the clock

    def renew_token(self) -> str:
        """Makes a token that works once, in the place of the one before it."""
        self._token = secrets.token_urlsafe(TOKEN_BYTES)
        self._on_token(self._token)
        return self._token

    def login(self, token: str) -> str:
        """Returns the cookie's value for a token; Denied when it is wrong."""
        given = token.encode(errors='replace')
        is_once = bool(self._token) and hmac.compare_digest(given, self._token.encode())
        is_lasting = bool(self._secret) and hmac.compare_digest(given, self._secret.encode())
        if not (is_once or is_lasting):
            raise Denied(403, 'that token is wrong or was used before; take the newest address')
        if is_once:
            self.renew_token()
        session = secrets.token_urlsafe(TOKEN_BYTES)
        self._sessions[_digest(session)] = self._clock() + SESSION_S
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def check_session(self, session: str | None) -> str:
        """Returns a short name of the session, for the audit; Denied when there is no such one."""
        digest = _digest(session or '')
        end = self._sessions.get(digest)
        if end is None or end < self._clock():
            self._sessions.pop(digest, None)
            raise Denied(401, 'type the address that the console printed when it was started')
        self._sessions.move_to_end(digest)
        return digest.hex()[:8]


def _digest(session: str) -> bytes:
    return hashlib.sha256(session.encode(errors='replace')).digest()
