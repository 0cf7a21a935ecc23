# SPDX-License-Identifier: Apache-2.0
"""What users write as arguments of the launch files, as values; the launch files call it.

An argument that is left empty has no value, and its launch file then passes nothing. Errors name
the argument and show one that fits. Nothing here imports `launch`, which the ROS 2 wheels lack;
`node_launch` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from penguin_ros.errors import SettingError
from penguin_ros.user_cache import expanded

TRUE = ('true', 'yes', 'on', '1')
FALSE = ('false', 'no', 'off', '0')
LOG_LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')
Given = TypeVar('Given')
_CAMERA = re.compile(r'[A-Za-z][A-Za-z0-9_]*')


@dataclass(frozen=True)
class LaunchArguments:
    """The values of a launch file's arguments; `read` returns what is written for one."""

    read: Callable[[str], str]

    def text(self, name: str) -> str:
        """Returns the text of an argument, without blanks around it."""
        return self.read(name).strip()

    def given(
        self, read: Callable[[str], Given | None], parameters: Mapping[str, str]
    ) -> dict[str, Given]:
        """Returns the values of those arguments that are not empty, each under the name of the
        parameter that it sets; `read` is one of the methods here.
        """
        values = {parameter: read(name) for name, parameter in parameters.items()}
        return {
            parameter: value
            for parameter, value in values.items()
            if value is not None and value not in ('', [])
        }

    def names(self, name: str) -> list[str]:
        """Returns what is written with commas between, without blanks around it."""
        return [entry for part in self.text(name).split(',') if (entry := part.strip())]

    def path(self, name: str) -> str:
        """Returns a path, or what else the argument may name, with a leading ~ replaced: a shell
        leaves it as it is after `:=`.
        """
        return expanded(self.text(name))

    def file(self, name: str) -> str:
        """Returns the path of a file; SettingError when there is none."""
        path = self.path(name)
        if path and not Path(path).is_file():
            why = 'it is a folder' if Path(path).is_dir() else 'there is no such file'
            raise SettingError(f'{name}:={self.text(name)}', why, f'{name} takes a file')
        return path

    def boolean(self, name: str) -> bool | None:
        """Returns whether the argument says yes, in any usual spelling; None when it is empty."""
        text = self.text(name).lower()
        if text and text not in (*TRUE, *FALSE):
            raise SettingError(
                f'{name}:={self.text(name)}', 'it takes true or false', f'Type: {name}:=true'
            )
        return text in TRUE if text else None

    def integer(self, name: str, choices: tuple[int, ...] = ()) -> int | None:
        """Returns a whole number; None when the argument is empty."""
        text = self.text(name)
        try:
            number = int(text) if text else None
        except ValueError:
            raise SettingError(
                f'{name}:={text}', 'it takes a whole number', f'Type, say: {name}:=1'
            ) from None
        if number is not None and choices and number not in choices:
            raise SettingError(f'{name}:={text}', f'it takes one of {", ".join(map(str, choices))}')
        return number

    def number(self, name: str) -> float | None:
        """Returns a number of 0 or more; None when the argument is empty."""
        text = self.text(name)
        try:
            number = float(text) if text else None
        except ValueError:
            number = -1.0
        if number is not None and not 0.0 <= number < float('inf'):
            raise SettingError(
                f'{name}:={text}', 'it takes a number of 0 or more', f'Type, say: {name}:=1.5'
            )
        return number

    def log_level(self, name: str) -> str:
        """Returns a level, alone or as LOGGER:=LEVEL, as rcl takes it; '' when it is empty."""
        text = self.text(name)
        logger, separator, level = text.rpartition(':=')
        level = {'warning': 'warn'}.get(level.lower(), level.lower())
        if text and level not in LOG_LEVELS:
            raise SettingError(
                f'{name}:={text}', f'it takes one of {", ".join(LOG_LEVELS)}', f'Type: {name}:=info'
            )
        return f'{logger}{separator}{level}'

    def cameras(self, name: str) -> dict[str, str]:
        """Returns cameras written as `front=/front/image_raw,rear`: the topic of each, '' where
        none is given.
        """
        cameras: dict[str, str] = {}
        for entry in self.names(name):
            camera, separator, topic = (part.strip() for part in entry.partition('='))
            if not _CAMERA.fullmatch(camera):
                raise SettingError(f'{name}:={self.text(name)}', *_camera_advice(name, camera))
            if camera in cameras:
                raise SettingError(f'{name}:={self.text(name)}', f'{camera} occurs twice')
            if separator and not topic:
                raise SettingError(
                    f'{name}:={self.text(name)}',
                    f'no topic after {camera}=',
                    f'Type, say: {name}:={camera}=/{camera}/image_raw',
                )
            cameras[camera] = topic
        return cameras


def _camera_advice(argument: str, entry: str) -> tuple[str, str]:
    """Returns why a camera cannot be called `entry`, and what to type."""
    words = [word for word in entry.split('/') if _CAMERA.fullmatch(word)]
    if '/' in entry and words:
        fix = f'Type: {argument}:={words[0]}={entry}'
        return f'{entry} is a topic without the name of its camera', fix
    fix = f'Type, say: {argument}:=front=/front/image_raw,rear=/rear/image_raw'
    return f'{entry!r} is no name of a camera: a letter, then letters, digits and _', fix


def node_namespace(given: str, pushed: str) -> str:
    """Returns the namespace for a node that lies in the namespace `pushed` already.

    A launch file that is included inherits its parent's argument `namespace`, with which the parent
    may have pushed it: such a namespace is not added a second time. An absolute one always holds.
    """
    is_pushed = f'{pushed.rstrip("/")}/'.endswith(f'/{given.strip("/")}/')
    return '' if given and not given.startswith('/') and is_pushed else given
