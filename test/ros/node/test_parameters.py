# SPDX-License-Identifier: Apache-2.0
"""Parameters on a real node: declared from the settings, checked, read."""

from contextlib import contextmanager

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from support.graph import REPOSITORY, Domain, parameter_node, ros_context

from penguin_ros.config import RENAMED_SETTINGS, PenguinConfig
from penguin_ros.errors import SettingError
from penguin_ros.ros.conversions.topics import CameraSetting
from penguin_ros.ros.node.parameters import Parameters
from penguin_ros.settings import settings

OTHER_VALUES = {
    'model.prefix_caching': False,
    'model.encoder_cache_bytes': 4096,
    'clip.precompute': 'prefill',
    'caption.max_preemption': 2.5,
    'buffer.max_image_pixels': 5000,
}
# Settings that are read when the node is configured.
LOCKED = [
    ('model.checkpoint', '/tmp'),
    ('question.queue_length', 3),
    ('cameras', ['other']),
    ('camera.camera.topic', 'elsewhere'),
]


@contextmanager
def node_with(*overrides):
    """A node started with `-p` overrides, on a domain of its own."""
    domain = Domain()
    try:
        with parameter_node(domain, *overrides) as node:
            yield node
    finally:
        domain.close()


def declared(node, is_configured=False, changes=None):
    return Parameters(
        node,
        lambda: 'active' if is_configured else 'unconfigured',
        lambda: changes.append(1) if changes is not None else None,
    )


def set_one(node, name, value):
    return node.set_parameters([Parameter(name, value=value)])[0]


def test_without_overrides_the_settings_are_those_of_the_core():
    with node_with() as node:
        parameters = declared(node)
        assert parameters.config() == PenguinConfig()
        assert parameters.cameras() == (CameraSetting('camera', 'camera/image', 'auto'),)
        assert parameters.is_autostarted()


def test_every_setting_is_described_with_unit_range_or_choices():
    with node_with() as node:
        declared(node)
        for name, (default, facts) in settings(PenguinConfig()).items():
            descriptor = node.describe_parameter(name)
            assert facts.text in descriptor.description and facts.unit in descriptor.description
            assert all(choice in descriptor.additional_constraints for choice in facts.choices)
            if isinstance(default, float):
                assert descriptor.floating_point_range[0].to_value == facts.high
            elif isinstance(default, int) and not isinstance(default, bool):
                assert descriptor.integer_range[0].from_value == facts.low


def test_overrides_reach_the_settings_and_an_integer_serves_as_a_double():
    with node_with(
        'clip.fps:=3', 'caption.prompt:="What is new?"', 'buffer.max_bytes:=4096'
    ) as node:
        config = declared(node).config()
        assert config.clip.fps == 3.0 and isinstance(config.clip.fps, float)
        assert config.caption.prompt == 'What is new?'
        assert config.buffer.max_bytes == 4096


@pytest.mark.parametrize(
    'override, named',
    [
        ('clip.fps:=-1.0', 'clip.fps'),
        ('clip.fps:=abc', 'clip.fps'),
        ('clip.fps:=.nan', 'clip.fps.*nan'),
        ('clip.seconds:=.inf', 'clip.seconds.*inf'),
        ('model.prefill_chunk:=-5', 'model.prefill_chunk.*-5'),
        ('question.max_tokens:=many', 'question.max_tokens.*STRING'),
        ('visual.policy:=best', 'visual.policy.*reference, fixed'),
        ('caption.prompt:=" "', 'caption.prompt is empty'),
        ('clip.max_frames:=2.5', 'clip.max_frames'),
        ('model.backend:=magic', 'model.backend'),
        ('clip.seconds:=60.0', 'buffer'),
        ('cameras:=["front left"]', "'front left' is no name"),
        ('cameras:=[front, front]', 'a name occurs twice'),
        ('cameras:=[1, 2]', 'cameras'),
        ('camera.camera.transport:=h264', 'camera.camera.transport.*raw, compressed, auto'),
        ('camera.camera.topic:="no topic"', 'no topic'),
    ],
)
def test_a_nonsense_override_is_refused_by_name(override, named):
    with node_with(override) as node, pytest.raises(SettingError, match=named):
        declared(node)


def test_cameras_have_their_topics_and_transports():
    with node_with(
        'cameras:=[front, rear]',
        'camera.rear.topic:=/rear/image_raw',
        'camera.rear.transport:=compressed',
    ) as node:
        assert declared(node).cameras() == (
            CameraSetting('front', 'front/image', 'auto'),
            CameraSetting('rear', '/rear/image_raw', 'compressed'),
        )


def test_an_empty_list_of_cameras_is_allowed():
    with node_with('cameras:=[]') as node:
        assert declared(node).cameras() == ()


def test_a_typo_is_named_with_the_nearest_parameter():
    with node_with(
        'clip.secnds:=2.0', 'camera.camera.topc:=x', 'qos_overrides./x.publisher.depth:=3'
    ) as node:
        texts = declared(node).warnings()
        assert len(texts) == 3
        assert 'clip.secnds' in texts[0] and 'Did you mean clip.seconds?' in texts[0]
        assert 'camera.camera.topc' in texts[1] and 'Did you mean camera.camera.topic?' in texts[1]
        assert 'qos_overrides./x.publisher.depth has no effect' in texts[2]


def test_an_override_of_a_cameras_durability_is_taken_and_a_wrong_one_refused():
    name = 'qos_overrides./camera/image.subscription'
    with node_with(f'{name}.durability:=transient_local', f'{name}/x.depth:=1') as node:
        (text,) = declared(node).warnings()
        assert f'{name}/x.depth has no effect' in text
    with node_with(f'{name}.durability:=latched') as node:
        with pytest.raises(SettingError, match='it takes one of .*transient_local'):
            declared(node)
    with node_with(f'{name}.deadline:=5') as node:
        with pytest.raises(SettingError, match='cannot be honoured'):
            declared(node)


def test_topics_of_a_camera_that_is_not_listed_are_told_from_a_typo():
    with node_with('cameras:=[front]', 'camera.rear.topic:=/rear/image_raw') as node:
        (text,) = declared(node).warnings()
        assert 'camera.rear.topic is not used' in text and 'Did you mean' not in text
        assert 'rear is not in the parameter cameras [front]' in text


def test_other_cameras_than_those_of_the_shipped_file_are_given_without_a_warning():
    domain = Domain()
    file = str(REPOSITORY / 'config' / 'penguin.yaml')
    arguments = ('--params-file', file, '-p', 'cameras:=[front]', '-p', 'camera.front.topic:=/f')
    try:
        with ros_context(domain, *arguments) as context:
            node = Node('parameters_under_test', context=context)
            parameters = declared(node)
            assert parameters.cameras() == (CameraSetting('front', '/f', 'auto'),)
            assert parameters.warnings() == []
            node.destroy_node()
    finally:
        domain.close()


@pytest.mark.parametrize('old, new', RENAMED_SETTINGS.items())
def test_a_setting_given_by_its_old_name_applies_and_is_warned_about(old, new):
    wanted = OTHER_VALUES[new]
    with node_with(f'{old}:={str(wanted).lower()}') as node:
        parameters = declared(node)
        assert settings(parameters.config())[new][0] == wanted
        (warning,) = parameters.warnings()
        assert f'{old} is now called {new}' in warning


def test_the_current_name_of_a_setting_wins_over_its_old_one():
    with node_with('clip.ahead:=encode', 'clip.precompute:=prefill') as node:
        parameters = declared(node)
        assert parameters.config().clip.precompute == 'prefill'
        assert 'the old name is ignored' in parameters.warnings()[0]


def test_nonsense_under_an_old_name_is_refused_under_the_current_one():
    with node_with('clip.ahead:=maybe') as node, pytest.raises(SettingError, match='precompute'):
        declared(node)


def test_a_live_setting_changes_at_any_time_and_the_change_is_announced():
    changes = []
    with node_with() as node:
        parameters = declared(node, is_configured=True, changes=changes)
        assert set_one(node, 'caption.period', 5).successful
        assert parameters.config().caption.period == 5.0
        assert changes


@pytest.mark.parametrize('name, value', LOCKED)
def test_a_setting_of_the_model_or_the_cameras_is_locked_while_configured(name, value):
    with node_with() as node:
        parameters = declared(node, is_configured=True)
        before = parameters.config(), parameters.cameras()
        result = set_one(node, name, value)
        assert not result.successful and name in result.reason and 'cleanup' in result.reason
        assert (parameters.config(), parameters.cameras()) == before


@pytest.mark.parametrize('name, value', LOCKED)
def test_the_same_setting_is_free_while_unconfigured(name, value):
    with node_with() as node:
        declared(node)
        assert set_one(node, name, value).successful


def test_a_locked_setting_may_be_set_to_the_value_it_has():
    with node_with() as node:
        declared(node, is_configured=True)
        assert set_one(node, 'question.queue_length', 16).successful


@pytest.mark.parametrize(
    'name, value',
    [
        ('clip.fps', 'fast'),
        ('clip.fps', float('nan')),
        ('clip.fps', float('inf')),
        ('clip.fps', -1),
        ('clip.max_frames', 0),
        ('clip.max_frames', 10**9),
        ('visual.policy', 'none'),
        ('caption.prompt', '   '),
        ('caption.enabled', 3),
        ('clip.seconds', None),
        ('clip.seconds', 31.0),
        ('autostart', False),
    ],
)
def test_nonsense_is_refused_with_a_reason_and_changes_nothing(name, value):
    changes = []
    with node_with() as node:
        parameters = declared(node, changes=changes)
        result = set_one(node, name, value)
        assert not result.successful and result.reason
        assert parameters.config() == PenguinConfig()
        assert not changes


def test_a_set_is_checked_as_a_whole():
    with node_with() as node:
        parameters = declared(node)
        both = [Parameter('clip.seconds', value=50.0), Parameter('buffer.seconds', value=60.0)]
        assert node.set_parameters_atomically(both).successful
        assert parameters.config().clip.seconds == 50.0
        one_bad = [Parameter('clip.seconds', value=1.0), Parameter('clip.fps', value=-3.0)]
        assert not node.set_parameters_atomically(one_bad).successful
        assert parameters.config().clip.seconds == 50.0
