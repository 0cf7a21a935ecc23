# SPDX-License-Identifier: Apache-2.0
"""By which names a server goes, and who is not let in.

A page of any site can make a browser send requests to the loopback, and a name server can make a
foreign name mean it. So a server looks at the name that it is called by.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

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

    `hosts` are names without a port, with brackets around an address of IPv6. `given` are names
    that count with any port, since a reverse proxy may have its own. The others count with `port`
    alone: another server of this machine is another site.
    """

    hosts: frozenset[str]
    port: int
    is_tls: bool = False
    given: frozenset[str] = frozenset()

    def check_host(self, host: str | None) -> None:
        """Raises Denied unless a Host header names this site."""
        if host is None or not self._is_ours(host):
            raise Denied(421, 'this server does not go by that name')

    def check_origin(self, origin: str | None) -> None:
        """Raises Denied unless an Origin header is a page of this site."""
        try:
            parts = urlsplit(origin or '')
        except ValueError:
            raise Denied(403, 'that is no origin') from None
        is_web = parts.scheme in ('http', 'https')
        if not is_web or parts.path or parts.query or not self._is_ours(parts.netloc):
            raise Denied(403, 'a page of another site may not talk to this server')

    def _is_ours(self, host: str) -> bool:
        name, port = split_host(host)
        default = 443 if self.is_tls else 80
        is_given = name.lower() in self.given and port >= 0
        return is_given or (name.lower() in self.hosts and self.port == (port or default))


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
    names = set[str]()
    if is_loopback(bind):
        names |= set(LOOPBACK_NAMES)
    if bind not in ('0.0.0.0', '::'):
        names.add(f'[{bind}]' if ':' in bind else bind.lower())
    return Site(frozenset(names), port, is_tls, frozenset(name.lower() for name in extra))


def is_loopback(bind: str) -> bool:
    """Tells whether an address can be reached from this machine only."""
    if bind == 'localhost':
        return True
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:
        return False
