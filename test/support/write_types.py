# SPDX-License-Identifier: Apache-2.0
"""Writes what a compiled Python module really offers as type stubs (.pyi), so that mypy can check
code against it.

Runs as a program in a process of its own: `write_types.py MODULE FILE`. Two kinds are read:
pybind11 modules (TensorRT), whose docstrings hold the signature of every method, and Cython modules
with embedded signatures (cuda.bindings). Nothing becomes Any: a type that is not understood becomes
`object`, so that using it is an error.
"""

from __future__ import annotations

import ctypes
import importlib
import inspect
import keyword
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

HEADER = """\
import collections.abc
import typing
import typing_extensions
from typing import Callable, ClassVar, Dict, Iterable, Iterator, List, Optional
from typing import Sequence, Set, Tuple, Union, overload
from typing_extensions import Buffer
Boolean = bool
__version__: str
"""
# What pybind11 writes for types of Python: the module's own names may hide a builtin (tensorrt.bool
# is a DataType).
WORDS = {
    'bool': 'Boolean',
    'typing.SupportsInt': 'int',
    'SupportsInt': 'int',
    'typing.SupportsFloat': 'float',
    'buffer': 'Buffer',
    'capsule': 'object',
    'handle': 'object',
    'function': 'Callable[..., object]',
    'numpy.ndarray': 'object',
    'tuple': 'Tuple[object, ...]',
    'list': 'List[object]',
    'dict': 'Dict[str, object]',
}
PLAIN = {
    'Boolean',
    'int',
    'list',
    'dict',
    'set',
    'tuple',
    'str',
    'float',
    'bytes',
    'object',
    'None',
    'slice',
    'Buffer',
    'Callable',
    'Dict',
    'List',
    'Optional',
    'Set',
    'Sequence',
    'Tuple',
    'Union',
    'typing',
    'typing_extensions',
    'collections',
    'abc',
    'Iterable',
    'Iterator',
}
SKIPPED = {
    '__doc__',
    '__module__',
    '__eq__',
    '__ne__',
    '__hash__',
    '__repr__',
    '__str__',
    '__getstate__',
    '__setstate__',
    '__members__',
    '__del__',
    '__weakref__',
    '__dict__',
    '__enter__',
    '__exit__',
    '__entries',
}
BUFFER_SLOT = 1  # Py_bf_getbuffer


class Types:
    """The stub of one pybind11 module."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.inner = importlib.import_module(
            f'{module.__name__}.{module.__name__.removesuffix("_bindings")}'
        )
        self.prefix = re.compile(rf'{module.__name__}\.{self.inner.__name__.rpartition(".")[2]}\.')
        self.names = {name for name, value in vars(module).items() if isinstance(value, type)}

    def text(self) -> str:
        """The whole stub."""
        lines = [HEADER]
        for name, value in vars(self.module).items():
            if name.startswith('_') or isinstance(value, ModuleType):
                continue
            if isinstance(value, type):
                lines += self.of_class(name, value)
            elif type(value).__name__ in self.names:
                lines.append(f'{name}: {type(value).__name__}')
            elif callable(value):
                lines.append(self.of_function(name, value))
        return '\n'.join(lines) + '\n'

    def of_class(self, name: str, value: type, indent: str = '') -> list[str]:
        """A class with its methods, properties, enum members and inner classes."""
        bases = [base.__name__ for base in value.__bases__ if base.__name__ in self.names]
        lines, body = (
            [f'{indent}class {name}({", ".join(bases)}):' if bases else f'{indent}class {name}:'],
            [],
        )
        for key, item in vars(value).items():
            if key not in SKIPPED and not key.startswith(('__pybind11', '_pybind11')):
                body += self.of_member(value, key, item)
        if (
            '__getitem__' in vars(value)
            and '__len__' in vars(value)
            and '__iter__' not in vars(value)
        ):
            body += self.of_old_iteration(vars(value)['__getitem__'])
        if hasattr(value, '__members__'):
            body.append(f'__members__: ClassVar[Dict[str, {value.__qualname__}]]')
        if ctypes.pythonapi.PyType_GetSlot(ctypes.py_object(value), BUFFER_SLOT):
            body.append('def __buffer__(self, flags: int, /) -> memoryview: ...')
        return lines + [f'{indent}    {line}' for line in body or ['...']]

    def of_member(self, owner: type, key: str, item: object) -> list[str]:
        """One attribute of a class."""
        if isinstance(item, type):
            is_own = item.__qualname__ == f'{owner.__qualname__}.{key}'
            return self.of_class(key, item) if is_own else [f'{key} = {item.__qualname__}']
        if isinstance(item, property):
            return self.of_property(key, item)
        if isinstance(item, owner) or type(item).__qualname__ == 'ILogger.Severity':
            return [f'{key}: ClassVar[{type(item).__qualname__}]']
        doc = getattr(item, '__doc__', None) or ''
        if '-> ' in doc:
            return self.of_method(key, doc)
        return []

    def of_property(self, key: str, item: property) -> list[str]:
        """A property; its getter says the type, unless it was written in Python."""
        found = re.search(r'-> (.+)', (item.fget.__doc__ if item.fget else '') or '')
        kind = self.of_type(found[1]) if found else 'str' if key == 'name' else 'object'
        lines = ['@property', f'def {key}(self) -> {kind}: ...']
        return (
            [*lines, f'@{key}.setter', f'def {key}(self, value: {kind} | None) -> None: ...']
            if item.fset
            else lines
        )

    def of_method(self, key: str, doc: str) -> list[str]:
        """A method with all its overloads."""
        signatures = re.findall(
            rf'^(?:\d+\. )?{re.escape(key)}\((.*)\) -> (.+)$', doc, re.MULTILINE
        )
        signatures = [each for each in signatures if each[0] != '*args, **kwargs']
        lines: list[str] = []
        for arguments, result in signatures:
            first = self.of_arguments(arguments)
            if not first.startswith('self'):
                lines.append('@staticmethod')
            lines += ['@overload'] if len(signatures) > 1 else []
            lines.append(f'def {key}({first}) -> {self.of_type(result)}: ...')
        return lines

    def of_arguments(self, arguments: str) -> str:
        """The parameters with their types; defaults become `...`."""
        parts, has_default = [], False
        for part in _split(arguments):
            before, default, _ = part.partition(' = ')
            name, colon, kind = before.partition(': ')
            has_default |= bool(default)
            if name == 'self' or not colon:
                parts.append(name)
            else:
                name = (
                    f'{name}_'
                    if keyword.iskeyword(name)
                    else re.sub(r'^arg(\d)$', r'__arg\1', name)
                )
                parts.append(f'{name}: {self.of_type(kind)}{" = ..." if has_default else ""}')
        return ', '.join(parts)

    def of_type(self, written: str) -> str:
        """A type as it is written in a docstring, in this module's names."""
        written = self.prefix.sub('', written.strip())
        # Some are given by their C++ names, which have an I in front where Python's may have none.
        written = re.sub(
            r'nv\w+::(?:\w+::)*(\w+)', lambda found: self.of_cpp_name(found[1]), written
        )
        written = re.sub(r'\btyping\.SupportsInt\b', 'int', written)
        written = re.sub(r'\btyping\.SupportsFloat\b', 'float', written)
        for word, meaning in WORDS.items():
            written = re.sub(rf'(?<![\w.]){re.escape(word)}(?![\w.\[])', meaning, written)
        words = re.findall(r'[A-Za-z_]\w*', written)
        known = all(
            word in self.names
            or word in PLAIN
            or hasattr(sys.modules['collections.abc'], word)
            or any(word in vars(each) for each in map(vars(self.module).get, self.names) if each)
            for word in words
        )
        return written if known and '::' not in written else 'object'

    def of_cpp_name(self, name: str) -> str:
        """What a C++ class is called in Python."""
        return name if name in self.names else name.removeprefix('I')

    def of_old_iteration(self, getter: object) -> list[str]:
        """`__iter__` for what Python iterates by index."""
        found = re.findall(
            r'__getitem__\(self: .*arg0: (?:int|typing\.SupportsInt)[^)]*\) -> (.+)',
            getter.__doc__ or '',
        )
        return [f'def __iter__(self) -> Iterator[{self.of_type(found[0])}]: ...'] if found else []

    def of_function(self, name: str, value: object) -> str:
        """A function of the module; parameters without types."""
        try:
            count = len(inspect.signature(value).parameters)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            count = 0
        parameters = ', '.join(f'__arg{index}: object' for index in range(count))
        return f'def {name}({parameters}) -> object: ...'


def _split(arguments: str) -> Iterator[str]:
    """At commas outside brackets."""
    depth, part = 0, ''
    for letter in arguments.replace('->', '') + ',':
        depth += (letter in '[(<') - (letter in '])>')
        if letter == ',' and not depth:
            if part.strip():
                yield part.strip()
            part = ''
        else:
            part += letter


def cython_types(module: ModuleType) -> str:
    """The stub of a Cython module: functions by their embedded signatures, enums, and integer
    constants.
    """
    lines = ['import enum', 'import typing']
    for name, value in vars(module).items():
        if name.startswith('_'):
            continue
        if isinstance(value, type) and hasattr(value, '__members__'):
            members = (
                f'    {member} = {int(number)}' for member, number in value.__members__.items()
            )
            lines += [f'class {name}(enum.IntEnum):', *members]
        elif isinstance(value, type):
            lines += [
                f'class {name}:',
                '    def __init__(self, *values: object) -> None: ...',
                '    def __int__(self) -> int: ...',
            ]
        elif isinstance(value, int):
            lines.append(f'{name}: int')
        elif name.startswith('cu') and (found := re.match(rf'{name}\((.*)\)', value.__doc__ or '')):
            names = [re.split('[:=]', part)[0].split()[-1].lstrip('*') for part in _split(found[1])]
            parameters = ', '.join(f'{each}: object' for each in names)
            lines.append(f'def {name}({parameters}) -> tuple[typing.Any, ...]: ...')
    return '\n'.join(lines) + '\n'


def main(name: str, file: str) -> None:
    """Imports the module and writes its stub."""
    module = importlib.import_module(name)
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(
        cython_types(module) if name.startswith('cuda') else Types(module).text(), encoding='utf-8'
    )


if __name__ == '__main__':
    main(*sys.argv[1:])
