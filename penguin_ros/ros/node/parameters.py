# SPDX-License-Identifier: Apache-2.0
"""The node's parameters, which are the settings of config.py and the cameras.

They are declared at the start, checked as a set, and read when they apply.

All calls come from the executor's thread.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from penguin_ros.config import RENAMED_SETTINGS, PenguinConfig
from penguin_ros.errors import PenguinError, SettingError
from penguin_ros.ros.conversions.parameters import (
    checked_topic,
    declare,
    overrides_of,
    setting_descriptor,
)
from penguin_ros.ros.conversions.qos_overrides import (
    PUBLISHER,
    SUBSCRIPTION,
    Opened,
    check_qos_overrides,
)
from penguin_ros.ros.conversions.topics import AUTO, TRANSPORTS, CameraSetting, transport_topics
from penguin_ros.ros.node.captions import OVERRIDABLE_TOPICS
from penguin_ros.ros.node.lifecycle_advice import to_change
from penguin_ros.settings import changed_values, settings, with_current_names, with_values

DEFAULT_CAMERAS = ['camera']
_CAMERA_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')
_CAMERA_PARAMETER = re.compile(rf'camera\.{_CAMERA_NAME.pattern}\.(topic|transport)')
# Declared by rclpy itself, or on demand for every overridable publisher and subscription.
_FOREIGN_PREFIXES = ('qos_overrides.', 'use_sim_time', 'start_type_description_service')


UNCONFIGURED = 'unconfigured'
_LIVE = 'May change at any time; applies to the next clip or question.'
_LOCKED = 'Changes only while unconfigured.'


class Parameters:
    """Declares the parameters of `node`; SettingError when an override does not fit.

    `lifecycle_state` returns the label of the node's state: settings that need a new configure are
    locked in every one but unconfigured. `on_change` is
    called before a change is stored (rclpy of Humble offers no call afterwards), so it may only
    schedule work that reads the values later.
    """

    def __init__(
        self, node: Node, lifecycle_state: Callable[[], str], on_change: Callable[[], None]
    ) -> None:
        self._node = node
        self._lifecycle_state = lifecycle_state
        self._on_change = on_change
        self._rename_warnings = self._rename_overrides()
        self._qos_warnings: list[str] = []
        self._declare_all()
        self.cameras()
        self.config()
        node.add_on_set_parameters_callback(self._check)

    def config(self) -> PenguinConfig:
        """Returns the settings as they are now; SettingError as in settings.with_values."""
        return with_values(
            PenguinConfig(),
            {name: self._node.get_parameter(name).value for name in settings(PenguinConfig())},
        )

    def cameras(self) -> tuple[CameraSetting, ...]:
        """Returns the cameras as they are now, and declares the parameters of new names.

        SettingError names what does not fit.
        """
        names = _camera_names(self._node.get_parameter('cameras').value)
        for name in names:
            self._declare_camera(name)
        cameras = tuple(
            CameraSetting(
                name,
                checked_topic(topic, self._node.get_parameter(topic).value),
                _transport(transport, self._node.get_parameter(transport).value),
            )
            for name in names
            for topic, transport in [_camera_parameters(name)]
        )
        self._qos_warnings = check_qos_overrides(self._node, self._opened(cameras))
        return cameras

    def _opened(self, cameras: Iterable[CameraSetting]) -> set[Opened]:
        """Returns the topics of the node whose quality of service can be overridden."""
        node = self._node
        published = {(node.resolve_topic_name(topic), PUBLISHER) for topic in OVERRIDABLE_TOPICS}
        return published | {
            (node.resolve_topic_name(topic), SUBSCRIPTION)
            for camera in cameras
            for transport, topic in transport_topics(node, camera.topic).items()
            if camera.transport in (AUTO, transport)
        }

    def is_autostarted(self) -> bool:
        """Returns whether the node configures and activates itself."""
        return bool(self._node.get_parameter('autostart').value)

    def warnings(self) -> list[str]:
        """Returns a sentence for each name in a parameter file or on the command line that is an
        old name of a setting, or that nothing takes.
        """
        return [
            *self._rename_warnings,
            *map(str, self._unknown_overrides()),
            *self._qos_warnings,
        ]

    def _unknown_overrides(self) -> list[SettingError]:
        """Returns an error for each override that nothing reads, with the nearest name there is."""
        known = [*settings(PenguinConfig()), 'autostart', 'cameras']
        cameras = [camera.name for camera in self.cameras()]
        for camera in cameras:
            known += _camera_parameters(camera)
        return [
            _unlisted(name, cameras) if _CAMERA_PARAMETER.fullmatch(name) else _unknown(name, known)
            for name in self._overrides()
            if name not in known and not name.startswith(_FOREIGN_PREFIXES)
        ]

    def _rename_overrides(self) -> list[str]:
        """Gives overrides under old names of settings their current ones; returns the warnings."""
        overrides = self._overrides()
        renamed, warnings = with_current_names(overrides, RENAMED_SETTINGS)
        for name in renamed.keys() - overrides.keys():
            overrides[name] = Parameter(name, value=renamed[name].value)
        for name in overrides.keys() - renamed.keys():
            del overrides[name]
        return warnings

    def _overrides(self) -> dict[str, Parameter]:
        """Returns the values of the parameter files and the command line, which apply when the
        parameters are declared.
        """
        return overrides_of(self._node)

    def _declare_all(self) -> None:
        for name, (default, facts) in settings(PenguinConfig()).items():
            when = _LIVE if facts.live else _LOCKED
            declare(self._node, name, default, setting_descriptor(default, facts, when))
        declare(
            self._node,
            'autostart',
            True,
            ParameterDescriptor(
                read_only=True,
                description='Configure and activate at start, without a lifecycle manager.',
            ),
        )
        declare(
            self._node,
            'cameras',
            DEFAULT_CAMERAS,
            ParameterDescriptor(
                # An empty list arrives without a type, which only a dynamic type can hold.
                dynamic_typing=True,
                description='Names of the cameras, each a word; camera.<name>.topic and .transport '
                f'belong to each. {_LOCKED}',
            ),
        )

    def _declare_camera(self, name: str) -> None:
        topic, transport = _camera_parameters(name)
        if self._node.has_parameter(topic):
            return
        declare(
            self._node,
            topic,
            f'{name}/image',
            ParameterDescriptor(
                description='Topic of the images; the compressed ones are expected below it, at '
                f'<topic>/compressed. {_LOCKED}'
            ),
        )
        declare(
            self._node,
            transport,
            AUTO,
            ParameterDescriptor(
                description=f'auto takes whichever topic has a publisher. {_LOCKED}',
                additional_constraints='one of ' + ', '.join(TRANSPORTS),
            ),
        )

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        """Answers rclpy whether all of `changes` may be stored together.

        It has no side effect but `on_change`.
        """
        known = settings(PenguinConfig())
        of_cameras = [
            change
            for change in changes
            if change.name == 'cameras' or change.name.startswith('camera.')
        ]
        try:
            self._check_settings([change for change in changes if change.name in known])
            self._check_cameras(of_cameras)
        except PenguinError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._on_change()
        return SetParametersResult(successful=True)

    def _check_settings(self, changes: Sequence[Parameter]) -> None:
        if not changes:
            return
        _refuse_removal(changes)
        current = self.config()
        wanted = with_values(current, {change.name: change.value for change in changes})
        known = settings(current)
        for name in changed_values(current, wanted):
            if not known[name][1].live:
                self._refuse_while_configured(name)

    def _check_cameras(self, changes: Sequence[Parameter]) -> None:
        _refuse_removal(changes)
        for change in changes:
            if self._is_new_value(change):
                self._refuse_while_configured(change.name)
            if change.name == 'cameras':
                _camera_names(change.value)
            elif change.name.endswith('.topic'):
                checked_topic(change.name, change.value)
            elif change.name.endswith('.transport'):
                _transport(change.name, change.value)

    def _is_new_value(self, change: Parameter) -> bool:
        if not self._node.has_parameter(change.name):
            return False
        return bool(self._node.get_parameter(change.name).value != change.value)

    def _refuse_while_configured(self, name: str) -> None:
        state = self._lifecycle_state()
        if state != UNCONFIGURED:
            raise SettingError(
                f'{name} cannot change now',
                f'it is read when the node is configured, and the node is {state}',
                to_change(self._node.get_fully_qualified_name(), state),
            )


def _camera_parameters(camera: str) -> tuple[str, str]:
    """Returns the names of the parameters for a camera's topic and transport."""
    return f'camera.{camera}.topic', f'camera.{camera}.transport'


def _camera_names(value: object) -> tuple[str, ...]:
    if value is None:
        names: list[Any] = []
    else:
        names = list(value) if isinstance(value, (list, tuple)) else [value]
    for name in names:
        if not isinstance(name, str) or not _CAMERA_NAME.fullmatch(name):
            raise SettingError(
                f'cameras = {value!r}',
                f'{name!r} is no name: a letter, then letters, digits and _',
                'Give a list of names such as [front, rear], and the topics as camera.front.topic',
            )
    if len(set(names)) != len(names):
        raise SettingError(f'cameras = {value!r}', 'a name occurs twice')
    return tuple(names)


def _transport(name: str, value: object) -> str:
    if value not in TRANSPORTS:
        raise SettingError(f'{name} = {value!r}', 'it takes one of ' + ', '.join(TRANSPORTS))
    return str(value)


def _refuse_removal(changes: Iterable[Parameter]) -> None:
    for change in changes:
        if change.type_ == Parameter.Type.NOT_SET:
            raise SettingError(
                f'{change.name} = (nothing)',
                'a parameter of this node cannot be removed or left without a type',
            )


def _unknown(name: str, known: Sequence[str]) -> SettingError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return SettingError(
        f'unknown parameter {name}',
        'nothing reads it',
        f'Did you mean {near[0]}?' if near else 'docs/parameters.md lists them all',
    )


def _unlisted(name: str, cameras: Sequence[str]) -> SettingError:
    return SettingError(
        f'parameter {name} is not used',
        f'{name.split(".")[1]} is not in the parameter cameras [{", ".join(cameras)}]',
        'Add it there, or leave this out',
    )
