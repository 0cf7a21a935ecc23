# SPDX-License-Identifier: Apache-2.0
"""Keys come from a file of the owner's or the environment; the right one tells who asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from penguin_ros.errors import SettingError
from penguin_ros.serving.keys import ENVIRONMENT, NOBODY, ApiKeys, keys_from
from penguin_ros.serving.main import ServeOptions, checked_keys
from penguin_ros.serving.refusals import Refusal

FIRST, SECOND, THIRD = (f'{name}-key-of-a-robot' for name in ('first', 'second', 'third'))


def test_keys_of_a_file_and_of_the_environment_let_in(tmp_path: Path) -> None:
    path = tmp_path / 'keys'
    path.write_text(f'# robots\n{FIRST}\n\n{SECOND}\n')
    path.chmod(0o600)
    keys = keys_from(path, {ENVIRONMENT: f'{THIRD},'})
    names = {keys.client(f'Bearer {key}') for key in (FIRST, SECOND, THIRD)}
    assert len(names) == 3 and NOBODY not in names
    assert not any(key in name for key in (FIRST, SECOND, THIRD) for name in names)
    for wrong in (None, '', 'Bearer ', f'Basic {FIRST}', f'Bearer {FIRST}x', 'Bearer # robots'):
        with pytest.raises(Refusal) as caught:
            keys.client(wrong)
        assert caught.value.status == 401
    assert ApiKeys().client(None) == NOBODY


def test_a_key_that_could_be_guessed_is_refused_without_being_shown() -> None:
    with pytest.raises(SettingError) as caught:
        keys_from(None, {ENVIRONMENT: f'{FIRST},short'})
    assert 'number 2' in str(caught.value) and 'short' not in str(caught.value).split('no good')[0]
    with pytest.raises(SettingError):
        keys_from(None, {ENVIRONMENT: 'a key with many spaces'})


def test_other_machines_need_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert not checked_keys(ServeOptions())
    with pytest.raises(SettingError, match='API keys'):
        checked_keys(ServeOptions(bind='0.0.0.0'))
    monkeypatch.setenv(ENVIRONMENT, FIRST)
    assert checked_keys(ServeOptions(bind='0.0.0.0'))
