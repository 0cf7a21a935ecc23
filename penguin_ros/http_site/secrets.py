# SPDX-License-Identifier: Apache-2.0
"""Files of keys and certificates, checked before they are used."""

from __future__ import annotations

import ssl
from pathlib import Path

from penguin_ros.errors import SettingError

LEAST_CHARACTERS = 16


def secret_in(path: Path) -> str:
    """Returns the text of a file that only its owner may read; SettingError for any other."""
    try:
        secret = path.read_text(encoding='utf-8').strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f'{path} cannot be read', str(error)) from None
    if len(secret) < LEAST_CHARACTERS or mode & 0o077:
        raise SettingError(
            f'{path} is no good file for a secret',
            f'it needs {LEAST_CHARACTERS} characters at least, and only its owner may read it',
            f'Type: (umask 077; openssl rand -base64 24 > {path})',
        )
    return secret


def check_pair(certificate: Path | None, key: Path | None) -> None:
    """Raises SettingError where only one of the two files of TLS is given."""
    if (certificate is None) != (key is None):
        raise SettingError(
            'TLS needs two files', 'one of --tls-certificate and --tls-key is missing'
        )


def tls_of(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Returns what a server needs for TLS, None without the files; SettingError when they are no
    certificate and key.
    """
    if certificate is None or key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingError(
            f'{certificate} and {key} are no certificate and key', str(error)
        ) from None
    return context
