# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: declared from the settings of config.py, plus the cameras; checked as a
set, read when they apply.

Knows nothing of what the settings do. All calls come from the executor's thread.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    InvalidTopicNameException,
)
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.validate_topic_name import validate_topic_name

from penguin_ros.config import RENAMED_SETTINGS, PenguinConfig
from penguin_ros.errors import PenguinError, SettingError
from penguin_ros.ros.conversions.topics import TRANSPORTS, CameraSetting
from penguin_ros.settings import (
    Setting,
    Value,
    changed_values,
    settings,
    with_current_names,
    with_values,
)

DEFAULT_CAMERAS = ['camera']
_CAMERA_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')
# Declared by rclpy itself, or on demand for every overridable publisher and subscription.
_FOREIGN_PREFIXES = ('qos_overrides.', 'use_sim_time', 'start_type_description_service')


class Parameters:
    """Declares the parameters of `node`; SettingError when an override does not fit.

    `is_configured` tells whether settings that need a new configure are locked; `on_change` is
    called before a change is stored (rclpy of Humble offers no call afterwards), so it may only
    schedule work that reads the values later.
    """

    def __init__(
        self, node: Node, is_configured: Callable[[], bool], on_change: Callable[[], None]
    ) -> None:
        self._node = node
        self._is_configured = is_configured
        self._on_change = on_change
        self.rename_warnings: list[str] = self._rename_overrides()
        for name, (default, facts) in settings(PenguinConfig()).items():
            self._declare(name, default, _descriptor(default, facts))
        self._declare(
            'autostart',
            True,
            ParameterDescriptor(
                read_only=True,
                description='Configure and activate at start, without a lifecycle manager.',
            ),
        )
        # An empty list arrives without a type, which only a dynamically typed parameter can hold.
        self._declare(
            'cameras',
            DEFAULT_CAMERAS,
            ParameterDescriptor(
                dynamic_typing=True,
                description='Names of the cameras, each a word; camera.<name>.topic and .transport belong '
                'to each. Changes only while unconfigured.',
            ),
        )
        self.cameras()
        self.config()
        node.add_on_set_parameters_callback(self._check)

    def config(self) -> PenguinConfig:
        """The settings as they are now; SettingError as in settings.with_values."""
        return with_values(
            PenguinConfig(),
            {name: self._node.get_parameter(name).value for name in settings(PenguinConfig())},
        )

    def cameras(self) -> tuple[CameraSetting, ...]:
        """The cameras as they are now; declares the parameters of new names. SettingError names
        what does not fit.
        """
        names = _camera_names(self._node.get_parameter('cameras').value)
        for name in names:
            self._declare_camera(name)
        values = [
            (
                name,
                *(
                    self._node.get_parameter(f'camera.{name}.{key}').value
                    for key in ('topic', 'transport')
                ),
            )
            for name in names
        ]
        return tuple(
            CameraSetting(name, _topic(name, topic), _transport(name, transport))
            for name, topic, transport in values
        )

    def is_autostarted(self) -> bool:
        """Whether the node configures and activates itself."""
        return bool(self._node.get_parameter('autostart').value)

    def unknown_overrides(self) -> list[SettingError]:
        """One error per name of a parameter file or command line that nothing reads, with the
        nearest name that exists.
        """
        known = [
            *settings(PenguinConfig()),
            'autostart',
            'cameras',
            *(
                f'camera.{camera.name}.{key}'
                for camera in self.cameras()
                for key in ('topic', 'transport')
            ),
        ]
        return [
            _unknown(name, known)
            for name in self._overrides()
            if name not in known and not name.startswith(_FOREIGN_PREFIXES)
        ]

    def _rename_overrides(self) -> list[str]:
        """Gives overrides under old names of settings their current ones; a warning for each."""
        overrides = self._overrides()
        renamed, warnings = with_current_names(overrides, RENAMED_SETTINGS)
        for name in renamed.keys() - overrides.keys():
            overrides[name] = Parameter(name, value=renamed[name].value)
        for name in overrides.keys() - renamed.keys():
            del overrides[name]
        return warnings

    def _overrides(self) -> dict[str, Parameter]:
        """The values of the parameter files and the command line, which apply when the parameters
        are declared.
        """
        # rclpy has no public access to the overrides a node was started with.
        overrides: dict[str, Parameter] = getattr(self._node, '_parameter_overrides', {})
        return overrides

    def _declare(self, name: str, default: Any, descriptor: ParameterDescriptor) -> None:
        try:
            self._node.declare_parameter(name, default, descriptor)
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise SettingError(
                f'parameter {name} is unusable', str(error), f'Meaning: {descriptor.description}'
            ) from error

    def _declare_camera(self, name: str) -> None:
        if self._node.has_parameter(f'camera.{name}.topic'):
            return
        self._declare(
            f'camera.{name}.topic',
            f'{name}/image',
            ParameterDescriptor(
                description='Topic of the images; the compressed ones are expected below it, at <topic>/compressed. '
                'Changes only while unconfigured.'
            ),
        )
        self._declare(
            f'camera.{name}.transport',
            'auto',
            ParameterDescriptor(
                description='auto takes whichever topic has a publisher. Changes only while unconfigured.',
                additional_constraints='one of ' + ', '.join(TRANSPORTS),
            ),
        )

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        """rclpy's question whether all of `changes` may be stored together; has no side effect but
        `on_change`.
        """
        try:
            self._check_settings(
                {
                    change.name: change
                    for change in changes
                    if change.name in settings(PenguinConfig())
                }
            )
            self._check_cameras(
                [
                    change
                    for change in changes
                    if change.name == 'cameras' or change.name.startswith('camera.')
                ]
            )
        except PenguinError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._on_change()
        return SetParametersResult(successful=True)

    def _check_settings(self, changes: dict[str, Parameter]) -> None:
        if not changes:
            return
        _refuse_removal(changes.values())
        current = self.config()
        wanted = with_values(current, {name: change.value for name, change in changes.items()})
        known = settings(current)
        for name in changed_values(current, wanted):
            if not known[name][1].live:
                self._refuse_while_configured(name)

    def _check_cameras(self, changes: Sequence[Parameter]) -> None:
        _refuse_removal(changes)
        for change in changes:
            if (
                self._node.has_parameter(change.name)
                and self._node.get_parameter(change.name).value != change.value
            ):
                self._refuse_while_configured(change.name)
            if change.name == 'cameras':
                _camera_names(change.value)
            elif change.name.endswith('.topic'):
                _topic(change.name.split('.')[1], change.value)
            elif change.name.endswith('.transport'):
                _transport(change.name.split('.')[1], change.value)

    def _refuse_while_configured(self, name: str) -> None:
        if self._is_configured():
            raise SettingError(
                f'{name} cannot change now',
                'it is read when the node is configured',
                'Deactivate and clean up the node, set it, then configure and activate again',
            )


def _descriptor(default: Value, facts: Setting) -> ParameterDescriptor:
    unit = f' [{facts.unit}]' if facts.unit else ''
    when = (
        'May change at any time; applies to the next clip or question.'
        if facts.live
        else 'Changes only while unconfigured.'
    )
    descriptor = ParameterDescriptor(description=f'{facts.text}{unit} {when}')
    if facts.choices:
        descriptor.additional_constraints = 'one of ' + ', '.join(facts.choices)
    if isinstance(default, float):
        # `ros2 param set node clip.fps 2` sends an integer, which a statically typed double
        # refuses.
        descriptor.dynamic_typing = True
        if facts.low is not None and facts.high is not None:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(facts.low), to_value=float(facts.high))
            ]
    elif (
        isinstance(default, int)
        and not isinstance(default, bool)
        and facts.low is not None
        and facts.high is not None
    ):
        descriptor.integer_range = [
            IntegerRange(from_value=int(facts.low), to_value=int(facts.high), step=1)
        ]
    return descriptor


def _camera_names(value: object) -> tuple[str, ...]:
    names: list[Any] = (
        list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]
    )
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


def _topic(camera: str, value: object) -> str:
    try:
        validate_topic_name(str(value))
    except InvalidTopicNameException as error:
        raise SettingError(
            f'camera.{camera}.topic = {value!r}', ' '.join(str(error).split())
        ) from error
    return str(value)


def _transport(camera: str, value: object) -> str:
    if value not in TRANSPORTS:
        raise SettingError(
            f'camera.{camera}.transport = {value!r}', 'it takes one of ' + ', '.join(TRANSPORTS)
        )
    return str(value)


def _refuse_removal(changes: Any) -> None:
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
