# SPDX-License-Identifier: Apache-2.0
"""Certificates that sign themselves, made by the command openssl."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest


def write_certificate(folder: Path, host: str, first_day: int, last_day: int) -> None:
    """Writes cert.pem and key.pem for a host, valid between two days from now."""
    if shutil.which('openssl') is None:
        pytest.skip('the command openssl is not there')
    now = datetime.now(timezone.utc)
    config = folder / 'ca.cnf'
    (folder / 'index').write_text('')
    (folder / 'serial').write_text('01')
    config.write_text(
        f'[req]\ndistinguished_name=dn\n[dn]\n[ext]\nsubjectAltName=DNS:{host}\n'
        'basicConstraints=CA:TRUE\n'
        f'[ca]\ndefault_ca=here\n[here]\ndatabase={folder}/index\nserial={folder}/serial\n'
        f'new_certs_dir={folder}\ndefault_md=sha256\npolicy=any\nx509_extensions=ext\n'
        '[any]\ncommonName=supplied\n'
    )
    key, request = folder / 'key.pem', folder / 'request.pem'
    _openssl(
        'req', '-new', '-newkey', 'rsa:2048', '-nodes', '-subj', f'/CN={host}',
        '-config', str(config), '-keyout', str(key), '-out', str(request),
    )  # fmt: skip
    days = [(now + timedelta(days=day)).strftime('%Y%m%d%H%M%SZ') for day in (first_day, last_day)]
    _openssl(
        'ca', '-batch', '-selfsign', '-notext', '-config', str(config), '-keyfile', str(key),
        '-startdate', days[0], '-enddate', days[1],
        '-in', str(request), '-out', str(folder / 'cert.pem'),
    )  # fmt: skip


def server_context(folder: Path) -> ssl.SSLContext:
    """The context of a server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / 'cert.pem', folder / 'key.pem')
    return context


def _openssl(*arguments: str) -> None:
    subprocess.run(['openssl', *arguments], check=True, capture_output=True, timeout=60)
