# SPDX-License-Identifier: Apache-2.0
"""Who may come in: hosts and origins, tokens that are printed once, and the cookies they become.

An address of the loopback is no boundary: any page that the operator has open can send requests to
it, and a name server can make a foreign name mean it. So every request needs a Host that is ours,
every WebSocket an Origin that is ours, and everything but the login a cookie, which no other site's
page can make the browser send (SameSite=Strict).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

COOKIE = 'penguin_console'
MAX_SESSIONS = 256
SESSION_S = 24 * 3600.0
TOKEN_BYTES = 24
LOOPBACK_NAMES = ('localhost', '127.0.0.1', '[::1]')


class Denied(Exception):
    """Why somebody is not let in, with the status that HTTP has for it."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass(frozen=True)
class Site:
    """The names and the port under which browsers reach the console.

    `hosts` are names without a port, with brackets around an address of IPv6. `port` 0: any port,
    since a reverse proxy may have its own.
    """

    hosts: frozenset[str]
    port: int
    is_tls: bool = False

    def check_host(self, host: str | None) -> None:
        """Raises Denied unless a Host header names this site."""
        if host is None or not self._is_ours(host):
            raise Denied(421, 'this server does not go by that name')

    def check_origin(self, origin: str | None) -> None:
        """Raises Denied unless an Origin header is a page of this site."""
        parts = urlsplit(origin or '')
        is_web = parts.scheme in ('http', 'https')
        if not is_web or parts.path or parts.query or not self._is_ours(parts.netloc):
            raise Denied(403, 'a page of another site may not talk to this server')

    def _is_ours(self, host: str) -> bool:
        name, port = split_host(host)
        default = 443 if self.is_tls else 80
        return name.lower() in self.hosts and self.port in (0, port if port else default)


def split_host(host: str) -> tuple[str, int]:
    """Splits `name:port`; 0 stands for no port, and a port that is no number for an impossible
    one.
    """
    name, colon, port = host.rpartition(':')
    if not colon or port.endswith(']'):
        return host, 0
    return name, int(port) if port.isascii() and port.isdigit() and len(port) < 6 else -1


def site_of(bind: str, port: int, extra: Iterable[str] = (), *, is_tls: bool = False) -> Site:
    """Returns the site of a server that listens on `bind`; `extra` are names that a person gave,
    those of a reverse proxy with any port.
    """
    names = {name.lower() for name in extra}
    if is_loopback(bind):
        names |= set(LOOPBACK_NAMES)
    elif bind not in ('0.0.0.0', '::'):
        names.add(f'[{bind}]' if ':' in bind else bind)
    return Site(frozenset(names), 0 if extra else port, is_tls)


def is_loopback(bind: str) -> bool:
    """Tells whether an address can be reached from this machine only."""
    if bind == 'localhost':
        return True
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:
        return False


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
