# SPDX-License-Identifier: Apache-2.0
"""Secrets come from files that nobody else can read, certificates with their keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from penguin_ros.errors import SettingError
from penguin_ros.http_site.secrets import check_pair, secret_in, tls_of


def test_a_secret_is_long_enough_and_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / 'key'
    path.write_text('a-secret-of-many-characters\n')
    path.chmod(0o600)
    assert secret_in(path) == 'a-secret-of-many-characters'
    path.chmod(0o640)
    with pytest.raises(SettingError, match='only its owner'):
        secret_in(path)
    path.chmod(0o600)
    path.write_text('short')
    with pytest.raises(SettingError, match='16 characters'):
        secret_in(path)
    with pytest.raises(SettingError, match='cannot be read'):
        secret_in(tmp_path / 'nothing')


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    check_pair(None, None)
    assert tls_of(None, None) is None
    with pytest.raises(SettingError, match='two files'):
        check_pair(tmp_path / 'robot.pem', None)
    (tmp_path / 'robot.pem').write_text('no certificate')
    with pytest.raises(SettingError, match='no certificate and key'):
        tls_of(tmp_path / 'robot.pem', tmp_path / 'robot.pem')
