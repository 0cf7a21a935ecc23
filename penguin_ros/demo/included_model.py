# SPDX-License-Identifier: Apache-2.0
"""What launch files of simulated worlds give the penguin node where nobody says it: the small model
that is included, and the world's time.

The launch files call it in the process of `ros2 launch`. Where this machine runs bundles only, the
bundle of the small model is built first, which takes about a second, and kept for the next start.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from penguin_ros.config import ModelConfig
from penguin_ros.export.bundle_cache import with_bundle
from penguin_ros.ros.process.launch_arguments import LaunchArguments
from penguin_ros.shipped import MODEL, shipped_model

Source = str | tuple[str, Any]
"""A parameter file, or a parameter's name and value, as `launch_ros` keeps those of parents."""
MODEL_PARAMETERS = frozenset({'model.bundle', 'model.checkpoint'})


def completed_arguments(arguments: LaunchArguments, of_parents: Iterable[Source]) -> dict[str, str]:
    """Returns values for the arguments `bundle`, `checkpoint` and `use_sim_time` where neither
    they, nor the argument `params_file`, nor parent launch files say them.
    """
    sources = [*filter(None, [arguments.path('params_file')]), *of_parents]
    values: dict[str, str] = {}
    if not arguments.text('bundle') and not arguments.text('checkpoint'):
        values.update(included_model(sources))
    if not arguments.text('use_sim_time') and 'use_sim_time' not in named_parameters(sources):
        values['use_sim_time'] = 'true'
    return values


def named_parameters(sources: Iterable[Source]) -> set[str]:
    """Returns the names of all parameters that the sources give a value, for whichever node.

    What is no parameter file names none: the node that is given it will say so.
    """
    names: set[str] = set()
    for source in sources:
        if isinstance(source, tuple):
            names.add(str(source[0]))
        else:
            names.update(_names_in_file(Path(source)))
    return names


def included_model(sources: Iterable[Source]) -> dict[str, str]:
    """Returns the arguments that name the small model: `bundle` or `checkpoint`.

    None where a source names a model, or the small one was not installed.
    """
    if named_parameters(sources) & MODEL_PARAMETERS or shipped_model() is None:
        return {}
    model = with_bundle(ModelConfig(checkpoint=MODEL))
    return {'bundle': model.bundle} if model.bundle else {'checkpoint': model.checkpoint}


def _names_in_file(path: Path) -> set[str]:
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return set()
    return set(_names_below(content))


def _names_below(content: Any) -> Iterable[str]:
    """Yields the dotted names below each `ros__parameters`, for every node of a file."""
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        if key == 'ros__parameters':
            yield from _leaves(value, '')
        else:
            yield from _names_below(value)


def _leaves(content: Any, prefix: str) -> Iterable[str]:
    if not isinstance(content, dict):
        if content not in (None, ''):
            yield prefix
        return
    for key, value in content.items():
        yield from _leaves(value, f'{prefix}.{key}'.lstrip('.'))
