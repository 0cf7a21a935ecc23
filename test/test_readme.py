# SPDX-License-Identifier: Apache-2.0
"""README and docs stay true: their tables, tree, paths, links and commands follow the code."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from recorded_launch import launch_arguments

from penguin_ros.cli.main import VERBS, parser
from penguin_ros.config import PenguinConfig
from penguin_ros.settings import Value, settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')
PARAMETERS = (ROOT / 'docs' / 'parameters.md').read_text(encoding='utf-8')
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding='utf-8')
    for path in (
        ROOT / 'README.md',
        ROOT / 'CONTRIBUTING.md',
        ROOT / 'engines' / 'penguin_sim' / 'README.md',
        ROOT / 'penguin_bt' / 'README.md',
        ROOT / 'penguin_nav2' / 'README.md',
        *sorted((ROOT / 'docs').glob('*.md')),
    )
}
MAX_README_BYTES = 9000
# A word of code names a file here when it begins with one of these folders, or ends like a file.
FOLDERS = (
    'benchmarks',
    'config',
    'docs',
    'engines',
    'examples',
    'launch',
    'penguin_bt',
    'penguin_msgs',
    'penguin_nav2',
    'penguin_ros',
    'scripts',
    'test',
    'tools',
    'worlds',
)
ENDINGS = ('py', 'md', 'yaml', 'xml', 'sdf', 'svg', 'png', 'json', 'rviz')
# Files that programs write, and names that stand for files of the reader's.
MADE = {
    'rules.yaml',
    'rules.yaml.state.json',
    'replay.png',
    'calibration.json',
    'bundle.yaml',
    'engines.json',
    '.digests.json',
    'metadata.yaml',
    'board.json',
    'mine.json',
    'live.json',
    'engines/penguin_2b',
    'engines/penguin_int4',
    'engines/penguin_float32',
    'engines/kernels',
    'engines/orin',
    'engines/desktop',
}
_FENCED = re.compile(r'^```.*?^```', re.DOTALL | re.MULTILINE)

each_page = pytest.mark.parametrize('page', sorted(PAGES))


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize('name', sorted(settings(PenguinConfig())))
def test_every_setting_has_its_row_with_default_unit_meaning_and_whether_it_is_live(
    name: str,
) -> None:
    value, facts = settings(PenguinConfig())[name]
    rows = [row for row in PARAMETERS.splitlines() if row.startswith(f'| `{name}` |')]
    assert len(rows) == 1
    cells = [cell.strip() for cell in re.split(r'(?<!\\)\|', rows[0])]
    _, _, default, span, unit, live, meaning, _ = cells
    assert default.strip('`“”') == _shown(value)
    assert (unit, live) == (facts.unit, 'yes' if facts.live else '')
    assert meaning.replace('&lt;', '<') == facts.text
    assert all(choice in span for choice in facts.choices)


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'{value:g}' if isinstance(value, float) else str(value) or 'empty'


def test_no_row_names_a_setting_that_is_gone() -> None:
    rows = re.findall(r'^\| `([a-z_]+\.[a-z0-9_]+)` \|', PARAMETERS, re.MULTILINE)
    assert set(rows) == set(settings(PenguinConfig()))


@each_page
def test_no_page_names_a_setting_that_is_gone(page: str) -> None:
    sections = {name.partition('.')[0] for name in settings(PenguinConfig())}
    named = [
        name
        for name in re.findall(r'`([a-z_]+\.[a-z0-9_]+)(?:: [^`]*)?`', PAGES[page])
        if name.partition('.')[0] in sections and not _is_path(name)
    ]
    assert (
        set(named) - set(settings(PenguinConfig())) - {'vision.onnx', 'model.safetensors'} == set()
    )


# --- verbs, commands, launch files ----------------------------------------------------------------


def test_the_table_of_commands_has_every_verb_once_and_no_other() -> None:
    assert sorted(re.findall(r'^\| `penguin (\w+)` \|', README, re.MULTILINE)) == sorted(VERBS)


@cache
def _commands(pattern: str) -> list[str]:
    """The lines of all code blocks that begin with `pattern`."""
    lines = {
        line
        for text in PAGES.values()
        for block in _FENCED.findall(text)
        for line in block.splitlines()
    }
    return sorted(line for line in lines if re.match(pattern, line))


@pytest.mark.parametrize('line', _commands(r'(ros2 run penguin_ros )?penguin |\./scripts/demo'))
def test_every_command_that_is_shown_is_understood(line: str) -> None:
    words = shlex.split(line.removeprefix('ros2 run penguin_ros '), comments=True)
    words = words[1:] if words[0] == 'penguin' else ['demo', *words[1:]]
    assert parser(words[0]).parse_args(words).verb == words[0]


@pytest.mark.parametrize('line', _commands('ros2 launch'))
def test_every_launch_that_is_shown_has_these_arguments(line: str) -> None:
    file = re.findall(r' penguin_ros (\w+\.launch\.py)', line)[0]
    declared = {argument.name for argument in launch_arguments(file)}
    assert set(re.findall(r'(\w+):=', line)) <= declared


# --- the tree -------------------------------------------------------------------------------------


def _tree() -> str:
    page = PAGES['docs/architecture.md']
    return page[page.index('## The source tree') :].split('```')[1]


def test_every_room_stands_in_the_tree() -> None:
    package = ROOT / 'penguin_ros'
    rooms = [path.parent.name for path in package.glob('*/__init__.py')]
    files = [path.name for path in package.glob('*.py')]
    files = [name for name in files if name not in ('__init__.py', 'pipeline_status.py')]
    assert [name for name in rooms if f'{name}/' not in _tree()] == []
    assert [name for name in files if name not in _tree()] == []


def test_the_tree_names_nothing_that_is_gone() -> None:
    names = re.findall(r'(?<![\w/])(\w+/|\w+\.py)(?=\s|$)', _tree())
    assert len(names) > 20
    assert [name for name in names if not _exists(name, 'docs/architecture.md')] == []


# --- paths and links ------------------------------------------------------------------------------


def test_the_readme_stays_short() -> None:
    assert len(README.encode()) < MAX_README_BYTES


def _paths(page: str) -> set[str]:
    """The words of code spans and code blocks that look like paths of this repository."""
    code = [*_FENCED.findall(PAGES[page]), *re.findall('`([^`\n]+)`', _FENCED.sub('', PAGES[page]))]
    words = {word for part in code for word in re.split(r'[\s,;()"\'`=]+', part)}
    return {
        word.removeprefix('./').rstrip('/.:') for word in words if _is_path(word.removeprefix('./'))
    }


def _is_path(word: str) -> bool:
    is_interface = re.match(r'penguin_msgs/(?:(?:msg|srv|action)/)?[A-Z]\w*$', word)
    is_below_folder = re.match(rf'(?:{"|".join(FOLDERS)})/[\w*]', word)
    is_file = re.fullmatch(rf'(?:[\w*-]+/)*[\w*.-]+\.(?:{"|".join(ENDINGS)})', word)
    return not is_interface and bool(is_below_folder or is_file)


def _exists(name: str, page: str) -> bool:
    """From the root, the package, or beside the page; bare names lie below test/ or the package."""
    places = [ROOT, ROOT / 'penguin_ros', ROOT / 'launch', (ROOT / page).parent]
    is_bare = '/' not in name
    folders = (ROOT / 'test', ROOT / 'penguin_ros')
    is_below = is_bare and any(any(folder.rglob(name)) for folder in folders)
    return is_below or any(any(place.glob(name)) for place in places)


@each_page
def test_every_path_it_names_exists(page: str) -> None:
    assert sorted(name for name in _paths(page) - MADE if not _exists(name, page)) == []


def test_paths_are_found_in_spans_and_in_blocks() -> None:
    found = _paths('README.md')
    assert {'scripts/demo', 'config/simulation.yaml', 'engines/penguin_sim'} <= found
    assert MADE <= {path for page in PAGES for path in _paths(page)}, 'a name no page has any more'


@each_page
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    for link in re.findall(r'\]\((?!https?:)([^)\s]+)\)', PAGES[page]):
        path, _, anchor = link.partition('#')
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.is_file() and ROOT in target.parents, link
        assert not anchor or anchor in _anchors(target.read_text(encoding='utf-8')), link


def _anchors(text: str) -> set[str]:
    headings = re.findall(r'^#+ (.+)$', _FENCED.sub('', text), re.MULTILINE)
    return {
        re.sub(r'[^\w\- ]', '', heading).strip().lower().replace(' ', '-') for heading in headings
    }


def test_the_index_names_every_page_of_docs_once() -> None:
    rows = re.findall(r'^\| \[(\w+\.md)\]\(\1\) \| \w', PAGES['docs/README.md'], re.MULTILINE)
    pages = [path.name for path in (ROOT / 'docs').glob('*.md') if path.name != 'README.md']
    assert sorted(rows) == sorted(pages)
