# SPDX-License-Identifier: Apache-2.0
"""Where pip is configured, uv is told the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2] / 'scripts' / 'installer_settings.py'


def settings(tmp_path: Path, configuration: str = '', **variables: str) -> dict[str, str]:
    """Returns what the program prints with this pip.conf and these variables, and nothing else."""
    (tmp_path / 'pip.conf').write_text(configuration)
    environment = {
        'PATH': os.environ['PATH'],
        'HOME': str(tmp_path),
        'PIP_CONFIG_FILE': str(tmp_path / 'pip.conf'),
        **variables,
    }
    result = subprocess.run(
        [sys.executable, '-I', PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    return dict(line.split('=', 1) for line in result.stdout.splitlines())


def test_an_index_of_ones_own_is_passed_on(tmp_path: Path) -> None:
    found = settings(
        tmp_path, '[global]\nindex-url = http://127.0.0.1:1/simple\ntrusted-host = a\n'
    )
    assert found['UV_DEFAULT_INDEX'] == 'http://127.0.0.1:1/simple'
    assert found['UV_INSECURE_HOST'] == 'a'


def test_lists_are_passed_on_as_lists(tmp_path: Path) -> None:
    configuration = '[global]\nextra-index-url =\n    file:///a\n    file:///b\n'
    assert settings(tmp_path, configuration)['UV_INDEX'] == 'file:///a file:///b'


def test_variables_of_pip_take_precedence_over_its_files(tmp_path: Path) -> None:
    found = settings(tmp_path, '[global]\nfind-links = /old\n', PIP_FIND_LINKS='/new')
    assert found['UV_FIND_LINKS'] == '/new'


def test_variables_of_uv_are_left_as_they_are(tmp_path: Path) -> None:
    found = settings(tmp_path, '[global]\nindex-url = http://a\n', UV_DEFAULT_INDEX='http://b')
    assert 'UV_DEFAULT_INDEX' not in found


def test_all_indexes_count_as_with_pip(tmp_path: Path) -> None:
    assert settings(tmp_path)['UV_INDEX_STRATEGY'] == 'unsafe-best-match'


def test_without_a_home_nothing_is_cached(tmp_path: Path) -> None:
    assert 'UV_NO_CACHE' not in settings(tmp_path)
    assert settings(tmp_path, XDG_CACHE_HOME='/proc/nonexistent')['UV_NO_CACHE'] == '1'
