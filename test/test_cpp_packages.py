# SPDX-License-Identifier: Apache-2.0
"""The packages in C++, which are built only where they are named: what they declare fits together,
and what their pages say of them holds.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from penguin_ros.config import CaptionConfig

ROOT = Path(__file__).resolve().parents[1]
BT, NAV2 = ROOT / 'penguin_bt', ROOT / 'penguin_nav2'
PACKAGES = [BT, NAV2]
each_package = pytest.mark.parametrize('folder', PACKAGES, ids=lambda path: path.name)


@each_package
def test_a_package_is_complete_and_of_the_version_of_the_others(folder: Path) -> None:
    package = ElementTree.parse(folder / 'package.xml').getroot()
    ours = ElementTree.parse(ROOT / 'package.xml').getroot()
    assert package.get('format') == '3' and package.findtext('name') == folder.name
    for tag in ('version', 'license'):
        assert package.findtext(tag) == ours.findtext(tag)
    assert package.findtext('export/build_type') == 'ament_cmake'
    maintainer = package.find('maintainer')
    assert maintainer is not None and maintainer.get('email', '').endswith('.invalid')
    assert (folder / 'LICENSE').read_text() == (ROOT / 'LICENSE').read_text()
    assert f'Changelog for package {folder.name}' in (folder / 'CHANGELOG.rst').read_text()
    assert not [each.text for each in package if (each.text or '').endswith('-pip')]


@each_package
def test_what_cmake_finds_is_what_the_package_declares(folder: Path) -> None:
    text = (folder / 'CMakeLists.txt').read_text()
    found = set(re.findall(r'find_package\((\w+) REQUIRED\)', text))
    package = ElementTree.parse(folder / 'package.xml').getroot()
    declared = {each.text for each in package if each.tag.endswith('depend')}
    assert found == declared
    sources = re.findall(r'((?:src|test)/\w+\.cpp)', text)
    assert sorted(sources) == sorted(
        str(path.relative_to(folder)) for path in folder.rglob('*.cpp')
    )


@each_package
def test_every_source_has_the_licence_line_and_includes_what_is_declared(folder: Path) -> None:
    package = ElementTree.parse(folder / 'package.xml').getroot()
    declared = {each.text for each in package if each.tag == 'depend'} | {folder.name, 'gtest'}
    for path in [*folder.rglob('*.cpp'), *folder.rglob('*.hpp')]:
        text = path.read_text()
        assert text.startswith('// SPDX-License-Identifier: Apache-2.0\n'), path
        assert set(re.findall(r'#include "(\w+)/', text)) <= declared, path
        assert max(map(len, text.splitlines())) <= 105


@each_package
def test_its_page_says_plainly_that_it_was_never_run(folder: Path) -> None:
    page = (folder / 'README.md').read_text()
    assert '**Never linked or run.**' in page and 'has not been run' in page
    assert 'Never run yet' in (folder / 'CHANGELOG.rst').read_text()


@pytest.mark.slow
def test_colcon_finds_them_where_they_are_named_and_nowhere_else() -> None:
    def found(*arguments: str) -> list[str]:
        command = [sys.executable, '-m', 'colcon', 'list', '--names-only', *arguments]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        return sorted(done.stdout.split())

    assert found() == ['penguin_msgs', 'penguin_ros']
    page = (ROOT / 'docs' / 'behaviour_trees.md').read_text()
    named = re.findall(r'--base-paths src (.+)', page)[0].split()
    paths = [each.replace('src/penguin_ros/', './') for each in named]
    assert found('--base-paths', '.', *paths) == [
        'penguin_bt',
        'penguin_msgs',
        'penguin_nav2',
        'penguin_ros',
    ]


def test_the_palette_and_the_example_have_the_ports_of_the_source() -> None:
    root = ElementTree.parse(BT / 'trees' / 'watch_door.xml').getroot()
    palette = {node.get('ID'): node for node in root.findall('TreeNodesModel/Action')}
    plugin = (BT / 'src' / 'plugin.cpp').read_text()
    registered = dict(re.findall(r'registerNodeType<penguin_bt::(\w+)>\("(\w+)"', plugin))
    assert set(palette) == set(registered.values())
    for name, source in (
        ('PenguinAsk', 'ask_node'),
        ('PenguinDescribe', 'ask_node'),
        ('PenguinWaitForEvent', 'wait_for_event_node'),
    ):
        text = (BT / 'src' / f'{source}.cpp').read_text()
        for way in ('Input', 'Output'):
            ports = set(re.findall(rf'BT::{way}Port<[\w:<>]+>\(\s*"(\w+)"', text))
            assert ports == {
                port.get('name') for port in palette[name].findall(f'{way.lower()}_port')
            }
        used = list(root.iter(name))
        assert used, name
        known = {port.get('name') for port in palette[name]}
        assert all(set(node.attrib) <= known for node in used)
    main = root.get('main_tree_to_execute')
    assert main == root.findall('BehaviorTree')[0].get('ID')


def test_a_description_is_asked_for_by_the_prompt_of_captions() -> None:
    text = (BT / 'src' / 'ask_node.cpp').read_text()
    prompt = re.findall(r'kDescribe\[\] = "(.+?)"', text)[0]
    root = ElementTree.parse(BT / 'trees' / 'watch_door.xml').getroot()
    (describe,) = (each for each in root.iter('Action') if each.get('ID') == 'PenguinDescribe')
    (question,) = (each for each in describe if each.get('name') == 'question')
    assert question.get('default') == prompt == CaptionConfig().prompt


def test_the_waypoint_task_is_exported_under_the_name_that_its_settings_use() -> None:
    library = ElementTree.parse(NAV2 / 'plugins.xml').getroot()
    (exported,) = library.findall('class')
    source = (NAV2 / 'src' / 'ask_at_waypoint.cpp').read_text()
    macro = f'PLUGINLIB_EXPORT_CLASS({exported.get("type")}, {exported.get("base_class_type")})'
    assert macro in source
    cmake = (NAV2 / 'CMakeLists.txt').read_text()
    assert f'add_library({library.get("path")} SHARED' in cmake
    assert 'pluginlib_export_plugin_description_file(nav2_core plugins.xml)' in cmake
    settings = yaml.safe_load((NAV2 / 'config' / 'ask_at_waypoint.yaml').read_text())
    follower = settings['waypoint_follower']['ros__parameters']
    task = follower[follower['waypoint_task_executor_plugin']]
    assert task.pop('plugin') == exported.get('type')
    declared = set(re.findall(r'name\("(\w+)"\)', source))
    rows = re.findall(r'^\| `(\w+)` \|', (NAV2 / 'README.md').read_text(), re.MULTILINE)
    assert set(task) <= declared == set(rows)
