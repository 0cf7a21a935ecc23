# SPDX-License-Identifier: Apache-2.0
"""Who may ask: API keys from a file or the environment, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from penguin_ros.errors import SettingError
from penguin_ros.http_site.secrets import LEAST_CHARACTERS, secret_in
from penguin_ros.serving.refusals import Refusal

ENVIRONMENT = 'PENGUIN_API_KEYS'
NOBODY = 'anonymous'
_KEY = re.compile(r'[!-~]+', re.ASCII)


class ApiKeys:
    """The keys of some clients, by digest; without any, everybody may ask."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._names = {_digest(key): f'client-{_digest(key).hex()[:8]}' for key in keys}

    def __bool__(self) -> bool:
        return bool(self._names)

    def client(self, authorization: str | None) -> str:
        """Returns the name of the client that an Authorization header is of; Refusal for a wrong
        one. Every key is compared, whether or not an earlier one was right.
        """
        if not self._names:
            return NOBODY
        scheme, _, key = (authorization or '').partition(' ')
        given, found = _digest(key.strip()), ''
        for digest, name in self._names.items():
            if hmac.compare_digest(digest, given):
                found = name
        if scheme.lower() != 'bearer' or not found:
            raise Refusal(
                401,
                'invalid_api_key',
                'the API key is missing or wrong: send Authorization: Bearer KEY',
                headers={'WWW-Authenticate': 'Bearer'},
            )
        return found


def keys_from(path: Path | None, environment: Mapping[str, str] = os.environ) -> ApiKeys:
    """Returns the keys of a file, one a line, and of the environment variable PENGUIN_API_KEYS,
    with commas between them; SettingError for one that is too short or not printable.
    """
    lines = secret_in(path).splitlines() if path is not None else []
    keys = [line.strip() for line in lines if line.strip() and not line.startswith('#')]
    keys += filter(None, map(str.strip, environment.get(ENVIRONMENT, '').split(',')))
    for number, key in enumerate(keys, 1):
        if len(key) < LEAST_CHARACTERS or not _KEY.fullmatch(key):
            raise SettingError(
                f'API key number {number} is no good',
                f'it needs {LEAST_CHARACTERS} printable characters at least, none of them a space',
                'Type: openssl rand -base64 24',
            )
    return ApiKeys(keys)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode('utf-8', 'replace')).digest()
