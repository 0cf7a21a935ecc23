# SPDX-License-Identifier: Apache-2.0
"""launch/penguin.launch.py: which arguments it declares, and what they become on the node's
command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.launch_stand_ins import arguments_of, described, kind

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import SettingError
from penguin_ros.settings import settings

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = {
    'namespace',
    'name',
    'params_file',
    'use_sim_time',
    'log_level',
    'cameras',
    'bundle',
    'checkpoint',
    'rules_file',
    'autostart',
    'fastdds_profile',
    'respawn',
    'respawn_delay',
}


@pytest.fixture
def entities(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the launch file describes, made of the stand-ins."""
    return described(monkeypatch, 'penguin.launch.py')


FILE = str(ROOT / 'config' / 'simulation.yaml')


def start(entities: list[Any], **given: str) -> list[Any]:
    """The actions for these arguments, the others at their defaults."""
    return list(entities[-1].named['function'](arguments_of(entities, **given)))


def node_parameters(actions: list[Any]) -> dict[str, Any]:
    """The parameters that are passed besides files."""
    given = [values for values in actions[-1].named['parameters'] if isinstance(values, dict)]
    return {name: value.values[0] for values in given for name, value in values.items()}


def test_every_argument_is_declared_with_a_default_and_a_description(entities: list[Any]) -> None:
    declared = {
        entity.values[0]: entity.named
        for entity in entities
        if kind(entity) == 'DeclareLaunchArgument'
    }
    assert set(declared) == ARGUMENTS
    for named in declared.values():
        assert 'default_value' in named
        assert len(named['description']) > 20


def test_without_arguments_nothing_is_passed_so_that_the_node_and_parent_files_decide(
    entities: list[Any],
) -> None:
    (node,) = start(entities)
    assert (node.named['package'], node.named['executable']) == ('penguin_ros', 'penguin_node')
    assert node.named['parameters'] == []
    assert node.named['arguments'] == ['--ros-args']
    assert node.named['additional_env'] == {}


def test_a_parameter_file_alone_decides_also_about_time(entities: list[Any]) -> None:
    (node,) = start(entities, params_file=FILE)
    assert node.named['parameters'] == [FILE]


def test_model_and_time_become_parameters_that_the_node_has(entities: list[Any]) -> None:
    parameters = node_parameters(
        start(entities, checkpoint='/models/1', bundle='engines/a', use_sim_time='true')
    )
    assert parameters == {
        'use_sim_time': True,
        'model.checkpoint': '/models/1',
        'model.bundle': 'engines/a',
    }
    assert {'model.checkpoint', 'model.bundle'} <= set(settings(PenguinConfig()))


@pytest.mark.parametrize('spelling', ['True', 'TRUE', 'yes', 'on', '1'])
def test_booleans_are_taken_in_any_usual_spelling(entities: list[Any], spelling: str) -> None:
    actions = start(entities, use_sim_time=spelling, autostart=spelling, respawn=spelling)
    assert node_parameters(actions) == {'use_sim_time': True, 'autostart': True}
    assert actions[-1].named['respawn'] is True


def test_a_false_that_is_given_is_passed(entities: list[Any]) -> None:
    assert node_parameters(start(entities, use_sim_time='False', autostart='off')) == {
        'use_sim_time': False,
        'autostart': False,
    }


def test_the_home_folder_is_put_for_a_tilde_that_no_shell_has_replaced(
    entities: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', '/home/me')
    assert node_parameters(start(entities, bundle='~/b', checkpoint='org/model')) == {
        'model.bundle': '/home/me/b',
        'model.checkpoint': 'org/model',
    }


def test_cameras_are_given_with_or_without_topics(entities: list[Any]) -> None:
    parameters = node_parameters(start(entities, cameras=' front = /front/image_raw , rear,'))
    assert parameters == {
        'cameras': ['front', 'rear'],
        'camera.front.topic': '/front/image_raw',
    }


def test_a_namespace_that_a_parent_has_pushed_and_hands_down_is_not_added_twice(
    entities: list[Any],
) -> None:
    note, node = start(entities, namespace='robot1', ros_namespace='/robot1')
    assert node.named['namespace'] == '' and 'robot1' in note.named['msg']
    (node,) = start(entities, namespace='arm', ros_namespace='/robot1')
    assert node.named['namespace'] == 'arm'
    (node,) = start(entities, namespace='/robot1', ros_namespace='/robot1')
    assert node.named['namespace'] == '/robot1'


def test_namespace_name_and_log_level_reach_the_node(entities: list[Any]) -> None:
    (node,) = start(
        entities,
        namespace='robot',
        name='eyes',
        log_level='DEBUG',
        respawn='true',
        params_file=FILE,
    )
    assert (node.named['namespace'], node.named['name'], node.named['respawn']) == (
        'robot',
        'eyes',
        True,
    )
    assert node.named['arguments'] == ['--ros-args', '--log-level', 'debug']
    assert node.named['parameters'] == [FILE]


def test_a_node_that_ended_is_started_again_after_the_time_that_a_model_may_take_to_load(
    entities: list[Any],
) -> None:
    (node,) = start(entities, respawn='true')
    assert node.named['respawn_delay'] == 10.0
    (node,) = start(entities, respawn='true', respawn_delay='45')
    assert node.named['respawn_delay'] == 45.0


def test_a_penguin_that_runs_is_not_started_again_unless_it_is_asked_for(
    entities: list[Any],
) -> None:
    (node,) = start(entities)
    assert node.named['respawn'] is False


@pytest.mark.parametrize(
    ('distribution', 'variable'),
    [('humble', 'FASTRTPS_DEFAULT_PROFILES_FILE'), ('kilted', 'FASTDDS_DEFAULT_PROFILES_FILE')],
)
def test_the_transport_profile_is_set_for_the_node_alone(
    entities: list[Any], monkeypatch: pytest.MonkeyPatch, distribution: str, variable: str
) -> None:
    monkeypatch.setenv('ROS_DISTRO', distribution)
    (node,) = start(entities, fastdds_profile='images')
    assert node.named['additional_env'] == {
        variable: '/share/penguin_ros/config/fastdds_images.xml'
    }
    own = str(ROOT / 'config' / 'fastdds_images.xml')
    (node,) = start(entities, fastdds_profile=own)
    assert node.named['additional_env'] == {variable: own}


@pytest.mark.parametrize(
    'given',
    [
        {'params_file': 'typo.yaml'},
        {'fastdds_profile': '/no/such.xml'},
        {'use_sim_time': 'maybe'},
        {'log_level': 'loud'},
        {'respawn_delay': 'soon'},
        {'cameras': '/front/image_raw'},
    ],
)
def test_an_argument_that_cannot_be_used_ends_the_launch_and_is_named(
    entities: list[Any], given: dict[str, str]
) -> None:
    ((name, value),) = given.items()
    with pytest.raises(SettingError, match=f'{name}:={value}'):
        start(entities, **given)


def test_the_shipped_parameter_file_names_only_parameters_that_exist() -> None:
    parameters = yaml.safe_load((ROOT / 'config' / 'penguin.yaml').read_text())['/**'][
        'ros__parameters'
    ]
    cameras = parameters.pop('cameras')
    assert set(parameters.pop('camera', {})) <= set(cameras)
    names = {f'{section}.{key}' for section, values in parameters.items() for key in values}
    assert names <= set(settings(PenguinConfig()))
