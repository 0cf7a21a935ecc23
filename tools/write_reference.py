# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of docs/ that follow from the code: parameters, launch arguments, messages.

A table stands between the lines `<!-- generated: NAME -->` and `<!-- end -->`. With `--check`
nothing is written, and the exit code is 1 when a table is stale. The parameters of the camera
nodes and of what listens to a penguin node need ROS 2, so source scripts/env.sh first.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recorded_launch import launch_arguments
from reference_messages import cell, interfaces, markdown

from penguin_ros.board_memory.board_classes import CLASSES
from penguin_ros.config import PenguinConfig
from penguin_ros.settings import Setting, Value, settings

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r'(<!-- generated: ([\w ]+) -->\n).*?(<!-- end -->)', re.DOTALL)


def parameters_block() -> str:
    """Returns the settings of penguin_node: a table for each section of config.py."""
    return _sections(PenguinConfig(), with_live=True)


def camera_node_block() -> str:
    """Returns the parameters of camera_node."""
    from penguin_ros.ros.camera_node.parameters import CameraParameters

    return _dataclass_table(CameraParameters)


def sim_camera_block() -> str:
    """Returns the parameters of sim_camera."""
    from penguin_ros.ros.sim_camera.parameters import SimCameraParameters

    return _dataclass_table(SimCameraParameters)


def memory_node_block() -> str:
    """Returns the parameters of memory_node: a table for each section."""
    from penguin_ros.ros.memory_node.parameters import MemoryNodeConfig

    return _sections(MemoryNodeConfig(), with_live=False)


def overlay_node_block() -> str:
    """Returns the parameters of overlay_node: a table for each section."""
    from penguin_ros.ros.overlay_node.parameters import OverlayConfig

    return _sections(OverlayConfig(), with_live=False)


def record_node_block() -> str:
    """Returns the parameters of record_node: a table for each section."""
    from penguin_ros.ros.record_node.parameters import RecordConfig

    return _sections(RecordConfig(), with_live=False)


def messages_block() -> str:
    """Returns every file of penguin_msgs."""
    return markdown(interfaces(ROOT / 'penguin_msgs'))


def launch_block(file: str) -> str:
    """Returns the arguments of a launch file."""
    rows = [
        f'| `{argument.name}` | {_default(argument.default)} | {cell(argument.meaning)} |'
        for argument in launch_arguments(file)
    ]
    return '\n'.join(['| argument | default | meaning |', '|---|---|---|', *rows])


def boards_block() -> str:
    """Returns the defaults of the boards whose GPU shares the machine's memory."""
    head = ['boards', '--precision', '--head', '--head-parts', '--max-length', '--max-rows']
    head += ['--max-patches', 'model.kv_slots']
    rows = [
        (
            f'{board.gigabytes} GB: {board.boards}',
            *(board.sizes.precision, board.sizes.head or 'its default', board.sizes.head_parts),
            *(board.sizes.max_length, board.sizes.max_rows, board.sizes.max_patches),
            board.sizes.slots,
        )
        for board in CLASSES
    ]
    lines = ['| ' + ' | '.join(map(str, row)) + ' |' for row in (head, *rows)]
    return '\n'.join([lines[0], '|' + '---|' * len(head), *lines[1:]])


BLOCKS: dict[str, Callable[[], str]] = {
    'parameters': parameters_block,
    'camera_node parameters': camera_node_block,
    'sim_camera parameters': sim_camera_block,
    'memory_node parameters': memory_node_block,
    'overlay_node parameters': overlay_node_block,
    'record_node parameters': record_node_block,
    'messages': messages_block,
    'board defaults': boards_block,
    'penguin launch': lambda: launch_block('penguin.launch.py'),
    'simulation launch': lambda: launch_block('simulation.launch.py'),
    'overlay launch': lambda: launch_block('overlay.launch.py'),
    'record launch': lambda: launch_block('record.launch.py'),
    'memory launch': lambda: launch_block('memory.launch.py'),
    'console launch': lambda: launch_block('console.launch.py'),
    'gazebo launch': lambda: launch_block('gazebo.launch.py'),
}


def pages() -> list[Path]:
    """Returns all pages that may contain a table."""
    return sorted((ROOT / 'docs').glob('*.md'))


def names_in(text: str) -> list[str]:
    """Returns the names of the tables that a page contains."""
    return [found[2] for found in _BLOCK.finditer(text)]


def written(text: str) -> str:
    """Returns the page with all its tables made anew; KeyError for a name that is not in BLOCKS."""
    return _BLOCK.sub(lambda found: f'{found[1]}\n{BLOCKS[found[2]]()}\n\n{found[3]}', text)


def main(arguments: list[str] | None = None) -> int:
    """Writes or checks every page and names those that were stale; returns the exit code."""
    parser = argparse.ArgumentParser(description='Write the tables of docs/ that follow from code.')
    parser.add_argument(
        '--check',
        action='store_true',
        help='write nothing; the exit code is 1 when a table is stale',
    )
    is_check = parser.parse_args(arguments).check
    stale = {page: text for page, old in _texts_of_pages() if (text := written(old)) != old}
    for page, text in stale.items():
        if not is_check:
            page.write_text(text, encoding='utf-8')
        what = 'stale; type: python tools/write_reference.py' if is_check else 'written'
        print(f'{page.relative_to(ROOT)}: {what}')
    return 1 if is_check and stale else 0


def _texts_of_pages() -> list[tuple[Path, str]]:
    return [(page, page.read_text(encoding='utf-8')) for page in pages()]


def _sections(config: Any, with_live: bool) -> str:
    """Returns a table for each section of a configuration."""
    known = settings(config)
    sections = []
    for section in dataclasses.fields(config):
        names = [name for name in known if name.startswith(f'{section.name}.')]
        rows = [_row(name, *known[name], with_live=with_live) for name in names]
        meaning = (type(getattr(config, section.name)).__doc__ or '').strip()
        table = [*_head(with_live=with_live), *rows]
        sections.append('\n'.join([f'### {section.name}', '', meaning, '', *table]))
    return '\n\n'.join(sections)


def _dataclass_table(kind: type) -> str:
    rows = [
        _row(item.name, getattr(kind(), item.name), item.metadata['setting'])
        for item in dataclasses.fields(kind)
    ]
    return '\n'.join([*_head(), *rows])


def _head(with_live: bool = False) -> list[str]:
    live = ['live'] if with_live else []
    names = ['parameter', 'default', 'range', 'unit', *live, 'meaning']
    return ['| ' + ' | '.join(names) + ' |', '|' + '---|' * len(names)]


def _row(name: str, value: Value, facts: Setting, with_live: bool = False) -> str:
    live = ['yes' if facts.live else ''] if with_live else []
    cells = [f'`{name}`', _default(value), _span(facts), facts.unit, *live, cell(facts.text)]
    return '| ' + ' | '.join(cells) + ' |'


def _default(value: Value) -> str:
    if isinstance(value, str):
        return f'“{value}”' if ' ' in value else f'`{value}`' if value else 'empty'
    return f'`{str(value).lower()}`' if isinstance(value, bool) else f'`{_number(value)}`'


def _span(facts: Setting) -> str:
    if facts.choices:
        return ', '.join(facts.choices)
    if facts.low is None or facts.high is None:
        return ''
    return f'{_number(facts.low)} … {_number(facts.high)}'


def _number(value: float) -> str:
    return f'{value:g}' if isinstance(value, float) else str(value)


if __name__ == '__main__':
    sys.exit(main())
