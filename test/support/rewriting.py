# SPDX-License-Identifier: Apache-2.0
"""Checkpoints made from others: copied, with a file changed, or with tensors under other names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from penguin_ros.checkpoint.safetensors_file import map_tensor, read_headers, write_safetensors
from penguin_ros.checkpoint.weight_files import INDEX, SINGLE

Tensors = dict[str, tuple[str, NDArray[Any]]]


def copied(source: Path, target: Path) -> Path:
    """Returns a copy that may be written to."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for folder in (target, *(path for path in target.rglob('*') if path.is_dir())):
        folder.chmod(0o755)
    return target


def edited(path: Path, edit: Callable[[Any], object]) -> None:
    """Changes a JSON file in place."""
    values = json.loads(path.read_text(encoding='utf-8'))
    edit(values)
    path.write_text(json.dumps(values), encoding='utf-8')


def with_value(path: Path, key: str, value: object) -> None:
    """Sets one key of a JSON file."""
    edited(path, lambda values: values.__setitem__(key, value))


def without(path: Path, key: str) -> None:
    """Removes one key of a JSON file."""
    edited(path, lambda values: values.pop(key))


def published_tensors(folder: Path) -> Tensors:
    """Returns every tensor of a checkpoint as its files have it."""
    return {
        name: (header.dtype, map_tensor(header).copy())
        for path in sorted(folder.glob('*.safetensors'))
        for name, header in read_headers(path).items()
    }


def with_tensors(folder: Path, tensors: Tensors) -> Path:
    """Replaces all weights of a checkpoint by one file."""
    for path in (*folder.glob('*.safetensors'), folder / INDEX):
        path.unlink(missing_ok=True)
    write_safetensors(folder / SINGLE, tensors)
    return folder


def renamed(tensors: Tensors, old: str, new: str) -> Tensors:
    """Returns the same tensors with the beginning `old` of their names replaced."""
    return {
        new + name.removeprefix(old) if name.startswith(old) else name: value
        for name, value in tensors.items()
    }
