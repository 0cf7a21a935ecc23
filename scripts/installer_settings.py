# SPDX-License-Identifier: Apache-2.0
"""Prints what pip is configured with as environment variables for uv, which does not read pip's
configuration: an index of one's own, folders of wheels, certificates, constraints.

    installer_settings.py     one NAME=VALUE a line, for `env`

Called by scripts/setup with the Python of the virtual environment. Variables of uv that are set
already take precedence.
"""

from __future__ import annotations

import os
import subprocess
import sys

NAMES = {
    'index-url': 'UV_DEFAULT_INDEX',
    'extra-index-url': 'UV_INDEX',
    'find-links': 'UV_FIND_LINKS',
    'no-index': 'UV_NO_INDEX',
    'cert': 'SSL_CERT_FILE',
    'trusted-host': 'UV_INSECURE_HOST',
    'timeout': 'UV_HTTP_TIMEOUT',
    'default-timeout': 'UV_HTTP_TIMEOUT',
    'constraint': 'UV_CONSTRAINT',
}
"""The variable of uv for each setting of pip. Both take lists with blanks between."""


SECTIONS = ('global', 'install', ':env:')
"""The sections that count for `pip install`, those that take precedence last."""


def pip_settings() -> dict[str, str]:
    """Returns the settings of pip's files and variables, the last that counts for each name."""
    command = [sys.executable, '-m', 'pip', 'config', 'list']
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in result.stdout.splitlines():  # section.name='value'
        key, _, value = line.partition('=')
        section, _, name = key.partition('.')
        if section in found:
            plain = ' '.join(value.strip('\'"').replace('\\n', ' ').split())
            found[section][name.lstrip('.')] = plain
    return {name: value for section in SECTIONS for name, value in found[section].items()}


def uv_settings(settings: dict[str, str]) -> dict[str, str]:
    """Returns variables of uv with the same meaning."""
    variables = {NAMES[name]: value for name, value in settings.items() if name in NAMES}
    # pip takes the best version of all indexes together.
    variables['UV_INDEX_STRATEGY'] = 'unsafe-best-match'
    if not can_keep_a_cache():
        variables['UV_NO_CACHE'] = '1'
    return {name: value for name, value in variables.items() if name not in os.environ}


def can_keep_a_cache() -> bool:
    """False where there is no home to write to."""
    home = os.environ.get('XDG_CACHE_HOME', '')
    try:
        os.makedirs(home or '.', exist_ok=True)
    except OSError:
        return False
    home = home or os.path.expanduser('~')
    return os.path.isdir(home) and os.access(home, os.W_OK)


if __name__ == '__main__':
    for name, value in uv_settings(pip_settings()).items():
        print(f'{name}={value}')
