# SPDX-License-Identifier: Apache-2.0
"""The README stays true: its tables, its tree and its commands follow the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from penguin_ros.cli.main import VERBS
from penguin_ros.config import Value, settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')


@pytest.mark.parametrize('name', sorted(settings()))
def test_every_setting_has_its_row_with_default_unit_meaning_and_whether_it_is_live(
    name: str,
) -> None:
    value, facts = settings()[name]
    rows = [row for row in README.splitlines() if row.startswith(f'| `{name}` |')]
    assert len(rows) == 1
    _, _, default, span, unit, live, meaning, _ = re.split(r'(?<!\\)\|', rows[0])
    shown = default.strip().strip('`“”')
    assert shown == _shown(value)
    assert (unit.strip(), live.strip(), meaning.strip()) == (
        facts.unit,
        'yes' if facts.live else '',
        facts.text,
    )
    assert all(choice in span for choice in facts.choices)


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'{value:g}' if isinstance(value, float) else str(value) or 'empty'


def test_no_row_names_a_setting_that_is_gone() -> None:
    rows = re.findall(r'^\| `([a-z_]+\.[a-z_]+)` \|', README, re.MULTILINE)
    assert set(rows) == set(settings())


@pytest.mark.parametrize('verb', sorted(VERBS))
def test_every_verb_is_in_the_table_of_commands(verb: str) -> None:
    assert f'| `penguin {verb}' in README


def test_every_room_stands_in_the_tree() -> None:
    tree = README[README.index('## How it is built') : README.index('Imports point down')]
    package = ROOT / 'penguin_ros'
    rooms = [path.parent.name for path in package.glob('*/__init__.py')]
    files = [
        path.name
        for path in package.glob('*.py')
        if path.name not in ('__init__.py', 'pipeline_status.py')
    ]
    assert [name for name in rooms if f'{name}/' not in tree] == []
    assert [name for name in files if name not in tree] == []


def test_every_folder_and_script_it_names_exists() -> None:
    named = [
        'scripts/demo',
        'scripts/test',
        'scripts/setup',
        'scripts/env.sh',
        'config/fastdds_images.xml',
        'docs/flow.svg',
        'LICENSE',
        'launch/penguin.launch.py',
        'benchmarks',
        'tools',
        'penguin_msgs',
    ]
    assert [name for name in named if not (ROOT / name).exists()] == []
