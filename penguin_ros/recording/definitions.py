# SPDX-License-Identifier: Apache-2.0
"""What messages are made of: definitions from the `share` folders of installed packages, and those
of foxglove_msgs, with which a recording has annotations wherever it was made.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from penguin_ros.errors import LibraryUnusable, PenguinError
from penguin_ros.libraries import remedy

FOXGLOVE = 'foxglove_msgs'
ANNOTATIONS = f'{FOXGLOVE}/msg/ImageAnnotations'
FOXGLOVE_MESSAGES = {
    'Color': 'float64 r\nfloat64 g\nfloat64 b\nfloat64 a\n',
    'Point2': 'float64 x\nfloat64 y\n',
    'CircleAnnotation': 'builtin_interfaces/Time timestamp\nfoxglove_msgs/Point2 position\n'
    'float64 diameter\nfloat64 thickness\nfoxglove_msgs/Color fill_color\n'
    'foxglove_msgs/Color outline_color\n',
    'PointsAnnotation': 'builtin_interfaces/Time timestamp\nuint8 UNKNOWN=0\nuint8 POINTS=1\n'
    'uint8 LINE_LOOP=2\nuint8 LINE_STRIP=3\nuint8 LINE_LIST=4\nuint8 type\n'
    'foxglove_msgs/Point2[] points\nfoxglove_msgs/Color outline_color\n'
    'foxglove_msgs/Color[] outline_colors\nfoxglove_msgs/Color fill_color\nfloat64 thickness\n',
    'TextAnnotation': 'builtin_interfaces/Time timestamp\nfoxglove_msgs/Point2 position\n'
    'string text\nfloat64 font_size\nfoxglove_msgs/Color text_color\n'
    'foxglove_msgs/Color background_color\n',
    'ImageAnnotations': 'foxglove_msgs/CircleAnnotation[] circles\n'
    'foxglove_msgs/PointsAnnotation[] points\nfoxglove_msgs/TextAnnotation[] texts\n',
}
"""The fields that all versions of the package have, in their order."""
_TIME = {'builtin_interfaces/msg/Time': 'int32 sec\nuint32 nanosec\n'}

FindShare = Callable[[str], Path]
"""Returns the `share` folder of a package; LookupError when it is not installed."""


class UnknownMessage(PenguinError):
    """A message has no definition here, so that nobody could read what is recorded of it."""


class Definitions:
    """`store` is rosbags' type store; types are added to it when they are first asked for.

    LibraryUnusable when rosbags is not there.
    """

    def __init__(self, find_share: FindShare) -> None:
        try:
            from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
        except ImportError as error:
            raise LibraryUnusable(
                'recordings need the library rosbags', str(error), remedy(error, 'rosbags')
            ) from error
        self._parsed = get_types_from_msg
        self._not_parsed = TypesysError
        self._find_share = find_share
        self.store: Any = get_typestore(Stores.EMPTY)

    def require(self, kind: str) -> None:
        """Adds a message and all that it holds, by a name such as std_msgs/msg/String;
        UnknownMessage where there is no definition of it.
        """
        waiting = [kind]
        while waiting:
            name = waiting.pop()
            if name in self.store.fielddefs:
                continue
            try:
                types = self._parsed(self._text(name), name)
            except self._not_parsed as error:
                raise UnknownMessage(
                    f'{name} cannot be recorded', 'rosbags does not understand its definition'
                ) from error
            self.store.register(types)
            for _, fields in types.values():
                waiting += [held for _, field in fields if (held := _held(field))]

    def foxglove(self) -> SimpleNamespace:
        """Returns the classes of the messages that annotate images, by name."""
        self.require(ANNOTATIONS)
        names = {name: self.store.types[f'{FOXGLOVE}/msg/{name}'] for name in FOXGLOVE_MESSAGES}
        return SimpleNamespace(**names, Time=self.store.types['builtin_interfaces/msg/Time'])

    def _text(self, name: str) -> str:
        package, _, base = name.split('/')
        if package == FOXGLOVE and base in FOXGLOVE_MESSAGES:
            return FOXGLOVE_MESSAGES[base]
        if name in _TIME:
            return _TIME[name]
        try:
            path = self._find_share(package) / 'msg' / f'{base}.msg'
            return path.read_text(encoding='utf-8')
        except (LookupError, OSError) as error:
            raise UnknownMessage(
                f'{name} cannot be recorded', f'it has no definition here: {error}', ''
            ) from error


def _held(field: Any) -> str:
    """Returns the name of the message in a field, '' where it holds none; rosbags describes a field
    as (kind, what), what of an array being (such a pair, length).
    """
    kind, what = field
    if kind.name == 'NAME':
        return str(what)
    return _held(what[0]) if kind.name in ('ARRAY', 'SEQUENCE') else ''
