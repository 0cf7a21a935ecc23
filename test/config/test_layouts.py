# SPDX-License-Identifier: Apache-2.0
"""The layouts in config/ for RViz, Foxglove and rqt, opened by their own programs as far as those
can be had (Foxglove's types of panels, rqt's reader of perspectives), and by the rules of formats.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml

CONFIG = Path(__file__).resolve().parents[2] / 'config'
DEMO = '/penguin_demo'


def loaded(name: str) -> dict[str, Any]:
    return dict(json.loads((CONFIG / name).read_text(encoding='utf-8')))


# --- RViz -----------------------------------------------------------------------------------------


def test_rviz_shows_what_the_overlay_node_publishes() -> None:
    text = (CONFIG / 'penguin.rviz').read_text(encoding='utf-8')
    displays = yaml.safe_load(text)['Visualization Manager']['Displays']
    shown = {each['Class']: each['Topic']['Value'] for each in displays if 'Topic' in each}
    assert shown == {
        'rviz_default_plugins/Image': 'overlay/camera/annotated',
        'rviz_2d_overlay_plugins/TextOverlay': 'overlay/camera/overlay_text',
    }
    assert all(each['Enabled'] is True and each['Name'] for each in displays)


# --- rqt ------------------------------------------------------------------------------------------


def values(group: dict[str, Any], path: str = '') -> Iterator[tuple[str, Any]]:
    """What a perspective sets, read as rqt does: each key has its value as Python source."""
    assert set(group) == {'keys', 'groups'}
    for key, value in group['keys'].items():
        assert value['type'] == 'repr'
        yield f'{path}/{key}', ast.literal_eval(value['repr'])
    for name, below in group['groups'].items():
        yield from values(below, f'{path}/{name}')


def test_the_perspective_of_rqt_opens_a_view_of_the_picture() -> None:
    found = dict(values(loaded('penguin.perspective')))
    plugins = found['/pluginmanager/running-plugins']
    assert plugins['rqt_image_view/ImageView'] == [1]
    view = '/pluginmanager/plugin__rqt_image_view__ImageView__1/plugin'
    assert found[f'{view}/topic'] == '/overlay/camera/annotated'
    groups = loaded('penguin.perspective')['groups']['pluginmanager']['groups']
    assert set(groups) == {
        f'plugin__{name.replace("/", "__")}__{number}'
        for name, numbers in plugins.items()
        for number in numbers
    }


def test_the_perspective_is_imported_by_rqt_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('QT_QPA_PLATFORM', 'offscreen')
    manager = pytest.importorskip('qt_gui.perspective_manager', reason='rqt is not here')
    core = pytest.importorskip('python_qt_binding.QtCore')

    class Context:
        qtgui_path = ''
        provide_app_dbus_interfaces = False

    application = core.QCoreApplication([])
    settings = core.QSettings(str(tmp_path / 'rqt.ini'), core.QSettings.IniFormat)
    perspectives = manager.PerspectiveManager(settings, Context())
    restored: list[Any] = []
    perspectives.restore_settings_signal.connect(lambda _, mine: restored.append(mine))
    perspectives.import_perspective_from_file(str(CONFIG / 'penguin.perspective'), 'penguin')
    plugins = restored[-1].get_settings('pluginmanager').value('running-plugins')
    assert plugins['rqt_image_view/ImageView'] == [1]
    del application


# --- Foxglove -------------------------------------------------------------------------------------


def leaves(node: Any) -> Iterator[str]:
    """The panels of a mosaic, in the format that Foxglove exports and imports."""
    if isinstance(node, str):
        yield node
        return
    assert set(node) <= {'direction', 'first', 'second', 'splitPercentage'}
    assert node['direction'] in ('row', 'column')
    assert 0 < node['splitPercentage'] < 100
    yield from leaves(node['first'])
    yield from leaves(node['second'])


@pytest.mark.parametrize('name', ['foxglove_layout.json', 'foxglove_demo_layout.json'])
def test_every_panel_of_the_foxglove_layout_is_placed_once_and_configured(name: str) -> None:
    layout = loaded(name)
    assert set(layout) == {
        'configById',
        'globalVariables',
        'userNodes',
        'playbackConfig',
        'layout',
    }
    placed = list(leaves(layout['layout']))
    assert sorted(placed) == sorted(layout['configById'])
    assert all(re.fullmatch(r'[A-Za-z]+![a-z0-9]+', panel) for panel in placed)
    picture = layout['configById']['Image!camera']['imageMode']
    (annotations,) = picture['annotations']
    assert annotations.endswith('/overlay/camera/annotations')
    assert picture['synchronize'] is True  # a caption only on the frames that it is about


def test_the_layout_of_the_demo_is_the_same_in_its_namespace() -> None:
    text = (CONFIG / 'foxglove_demo_layout.json').read_text(encoding='utf-8')
    assert json.loads(text.replace(f'"{DEMO}/', '"/')) == loaded('foxglove_layout.json')


@pytest.mark.parametrize('name', ['foxglove_layout.json', 'foxglove_demo_layout.json'])
def test_panels_have_the_settings_that_foxglove_knows(name: str) -> None:
    layouts = pytest.importorskip('foxglove.layouts', reason="Foxglove's own types of panels")
    for panel, config in loaded(name)['configById'].items():
        given = {key: value for key, value in config.items() if key != 'foxglovePanelTitle'}
        kind = getattr(layouts, f'{panel.partition("!")[0]}Config')
        assert json.loads(typed(kind, given).to_json()) == given


def typed(kind: Any, given: Any) -> Any:
    """Returns a value made of Foxglove's classes; TypeError for a setting that it does not know."""
    if isinstance(given, list):
        return [typed(kind, each) for each in given]
    if not dataclasses.is_dataclass(kind) or not isinstance(given, dict):
        return given
    hints = get_type_hints(kind)
    fields = {}
    for key, value in given.items():
        name = re.sub('(?<!^)(?=[A-Z])', '_', key).lower()
        inner = next((each for each in classes_in(hints.get(name)) if each), None)
        if inner is not None and name == 'annotations':
            fields[name] = {topic: typed(inner, each) for topic, each in value.items()}
        else:
            fields[name] = typed(inner, value)
    return kind(**fields)


def classes_in(hint: Any) -> Iterator[Any]:
    """The classes of Foxglove in a type hint."""
    if dataclasses.is_dataclass(hint):
        yield hint
    for each in get_args(hint):
        yield from classes_in(each)
