# SPDX-License-Identifier: Apache-2.0
"""Which commands get the stock tools: public repositories at fixed tags, none into the checkout."""

from __future__ import annotations

from pathlib import Path

import get_ros_tools
from get_ros_tools import INTERFACES, REPOSITORIES, commands


def test_every_repository_is_public_has_a_fixed_tag_and_a_name_of_its_own() -> None:
    wanted = (*REPOSITORIES, INTERFACES)
    assert all(one.url.startswith('https://github.com/') for one in wanted)
    assert all(one.tag[0].isdigit() for one in wanted)
    assert len({one.name for one in wanted}) == len(wanted)


def test_what_lies_there_is_not_cloned_again_and_all_else_goes_into_the_folder(
    tmp_path: Path,
) -> None:
    sources = tmp_path / 'src'
    (sources / 'launch').mkdir(parents=True)
    wanted = commands(tmp_path, sources, is_cloned=True)
    clones = [command for command in wanted if 'clone' in command]
    assert len(clones) == len(REPOSITORIES)  # with the interfaces, without launch
    assert all(command[-1].startswith(str(sources)) for command in clones)
    (build,) = (command for command in wanted if command[0] == 'colcon')
    assert build[build.index('--install-base') + 1] == str(tmp_path / 'interfaces')
    (install,) = (command for command in wanted if 'pip' in command)
    assert '--no-deps' in install and install[install.index('--prefix') + 1] == str(tmp_path)
    assert str(sources / 'ros2cli' / 'ros2param') in install


def test_sources_that_somebody_brings_are_taken_as_they_are(tmp_path: Path) -> None:
    wanted = commands(tmp_path, tmp_path / 'mine', is_cloned=False)
    assert not any('clone' in command for command in wanted)


def test_the_environment_puts_the_tools_first_and_keeps_the_rest(tmp_path: Path) -> None:
    text = get_ros_tools.ENVIRONMENT.format(
        folder=tmp_path, site=get_ros_tools.site_packages(tmp_path)
    )
    assert f'export PATH="{tmp_path}/bin:$PATH"' in text
    assert '${PYTHONPATH:+:$PYTHONPATH}' in text
