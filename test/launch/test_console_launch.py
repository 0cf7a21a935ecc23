# SPDX-License-Identifier: Apache-2.0
"""launch/console.launch.py: which arguments it declares, and what they become on the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.launch_stand_ins import arguments_of, described, kind

from penguin_ros.cli.main import parser
from penguin_ros.errors import SettingError


@pytest.fixture
def entities(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the launch file describes, made of the stand-ins."""
    return described(monkeypatch, 'console.launch.py')


def start(entities: list[Any], **given: str) -> Any:
    (node,) = entities[-1].named['function'](arguments_of(entities, **given))
    return node


def test_every_argument_has_a_default_and_says_what_it_is(entities: list[Any]) -> None:
    declared = [each for each in entities if kind(each) == 'DeclareLaunchArgument']
    assert len(declared) == 10
    for each in declared:
        assert 'default_value' in each.named
        assert len(each.named['description']) > 20


def test_without_arguments_it_listens_on_the_loopback_and_comes_back_when_it_ends(
    entities: list[Any],
) -> None:
    node = start(entities)
    assert (node.named['executable'], node.named['name']) == ('penguin', 'penguin_console')
    assert node.named['arguments'] == ['console'] and node.named['respawn'] is True


def test_arguments_become_options_that_the_verb_takes_beside_those_of_ros(
    entities: list[Any], tmp_path: Path
) -> None:
    for name in ('token', 'cert', 'key'):
        (tmp_path / name).touch()
    node = start(
        entities,
        bind='0.0.0.0',
        port='9000',
        names='robot.local, console.example',
        token_file=str(tmp_path / 'token'),
        tls_certificate=str(tmp_path / 'cert'),
        tls_key=str(tmp_path / 'key'),
        read_only='true',
        audit=str(tmp_path / 'audit.jsonl'),
        respawn='false',
    )
    line = [*node.named['arguments'], '--ros-args', '-r', '__node:=eye']
    given = parser('console').parse_args(line)
    assert (given.bind, given.port, given.read_only) == ('0.0.0.0', 9000, True)
    assert given.name == ['robot.local', 'console.example']
    assert (given.token_file, given.audit) == (tmp_path / 'token', tmp_path / 'audit.jsonl')
    assert (given.tls_certificate, given.tls_key) == (tmp_path / 'cert', tmp_path / 'key')
    assert node.named['respawn'] is False


def test_a_file_that_is_not_there_is_named(entities: list[Any]) -> None:
    with pytest.raises(SettingError, match='tls_key'):
        start(entities, tls_key='/nowhere/key.pem')
