# SPDX-License-Identifier: Apache-2.0
"""Where a remote engine is, as the setting `remote.endpoints` says, and with which key.

A key comes from a file or from the environment. It is never part of a setting, since parameters can
be read by everybody on the ROS graph, and it is shown nowhere.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from penguin_ros.errors import SettingError

SETTING = 'remote.endpoints'
DIALECTS = ('penguin', 'vllm-video', 'images')
OPTIONS = ('model', 'dialect', 'key_file', 'key_env', 'ca_file')
MAX_ENDPOINTS = 16
MAX_KEY_BYTES = 8192

_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,63}')


@dataclass(frozen=True)
class Endpoint:
    """One server. `url` is the root above `/v1`; `model` and `dialect` are '' where the server is
    asked for them; `key` is '' without one.
    """

    name: str
    url: str
    model: str = ''
    dialect: str = ''
    ca_file: str = ''
    key: str = field(default='', repr=False)

    def path(self, path: str) -> str:
        """Returns the URL of something below the root."""
        return f'{self.url}{path}'


def endpoints_of(
    text: str, allow_http: bool, environment: Mapping[str, str] | None = None
) -> tuple[Endpoint, ...]:
    """Returns the endpoints that the setting names, with their keys; SettingError says which part
    of it does not fit. `environment`: that of the process unless given.
    """
    environment = os.environ if environment is None else environment
    found = tuple(_endpoint(entry, allow_http, environment) for entry in text.split())
    names = [endpoint.name for endpoint in found]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise SettingError(f'{SETTING} names {double!r} twice', '', 'Give each server a name')
    if len(found) > MAX_ENDPOINTS:
        raise SettingError(f'{SETTING} has {len(found)} servers', f'{MAX_ENDPOINTS} are taken')
    return found


def _endpoint(entry: str, allow_http: bool, environment: Mapping[str, str]) -> Endpoint:
    place, *rest = entry.split(',')
    name, equals, url = place.partition('=')
    if not equals or not _NAME.fullmatch(name):
        raise SettingError(
            f'{SETTING} holds {_shown(entry)!r}',
            'each server is NAME=URL',
            'Example: lab=https://lab:8443',
        )
    options = dict(_option(name, part) for part in rest)
    dialect = options.get('dialect', '')
    if dialect and dialect not in DIALECTS:
        raise SettingError(
            f'{SETTING}: {name} has the dialect {dialect!r}', f'there are {", ".join(DIALECTS)}'
        )
    ca_file = options.get('ca_file', '')
    if ca_file and not Path(ca_file).expanduser().is_file():
        raise SettingError(f'{SETTING}: {name} has no file {ca_file!r}', '', 'Check ca_file')
    return Endpoint(
        name,
        _root(name, url, allow_http),
        options.get('model', ''),
        dialect,
        str(Path(ca_file).expanduser()) if ca_file else '',
        _key(name, options, environment),
    )


def _option(name: str, part: str) -> tuple[str, str]:
    option, equals, value = part.partition('=')
    if not equals or option not in OPTIONS:
        hint = ' A key itself is never part of a setting: name a key_file or key_env.'
        raise SettingError(
            f'{SETTING}: {name} has an option {option!r}',
            f'there are {", ".join(OPTIONS)}.{hint if "key" in option else ""}',
        )
    return option, value


def _root(name: str, url: str, allow_http: bool) -> str:
    parts = _parts(name, url)
    if parts.username or parts.password:
        raise SettingError(
            f'{SETTING}: the URL of {name} holds a user or a password',
            'everybody on the ROS graph can read it',
            'Put a key into a file and name it: key_file=/path',
        )
    if parts.query or parts.fragment:
        raise SettingError(f'{SETTING}: the URL of {name} has a query', '', 'Leave it out')
    if parts.scheme == 'http' and not allow_http and not is_loopback(parts.hostname or ''):
        raise SettingError(
            f'{SETTING}: {name} is reached by plain http',
            'everybody on the way could read pictures, answers and keys',
            'Use https, or set remote.allow_http if the network is your own',
        )
    return f'{parts.scheme}://{parts.netloc}{parts.path.rstrip("/").removesuffix("/v1")}'


def _parts(name: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for one that is no number
    except ValueError as error:
        raise SettingError(f'{SETTING}: {name} has no valid URL', str(error)) from None
    if parts.scheme not in ('http', 'https') or not parts.hostname:
        raise SettingError(
            f'{SETTING}: {name} has no valid URL', 'it begins with https:// or http:// and a host'
        )
    return parts


def is_loopback(host: str) -> bool:
    """True when what is sent to a host does not leave this machine."""
    if host.lower() == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _key(name: str, options: Mapping[str, str], environment: Mapping[str, str]) -> str:
    file, variable = options.get('key_file'), options.get('key_env')
    if file and variable:
        raise SettingError(f'{SETTING}: {name} has key_file and key_env', '', 'Give one of them')
    if variable:
        key = environment.get(variable, '').strip()
        if not key:
            raise SettingError(
                f'{SETTING}: {name} has no key', f'the variable {variable} is not set', 'Set it'
            )
        return _printable(name, key)
    if not file:
        return ''
    try:
        content = Path(file).expanduser().read_bytes()
    except OSError as error:
        raise SettingError(
            f'{SETTING}: the key of {name} cannot be read', f'{file}: {error.strerror}'
        ) from None
    return _printable(name, content[:MAX_KEY_BYTES].decode('ascii', 'replace').strip())


def _printable(name: str, key: str) -> str:
    """Returns a key that can stand in a header; the error does not tell it."""
    if not re.fullmatch(r'[!-~]+', key):
        raise SettingError(
            f'{SETTING}: the key of {name} is empty or no single word of ASCII characters'
        )
    return key


def _shown(entry: str) -> str:
    """Returns the beginning of an entry, without what may be a secret."""
    return entry.partition(',')[0].rpartition('@')[2][:64]
