# SPDX-License-Identifier: Apache-2.0
"""The commands of `ros2` that README.md and docs/stock_tools.md show, and what they send."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / 'docs' / 'stock_tools.md', ROOT / 'README.md']
WITH_MESSAGE = {('topic', 'pub'): 'Question', ('service', 'call'): '', ('action', 'send_goal'): ''}


def shown() -> list[str]:
    """The commands about a running node, in the order in which they stand, each once."""
    lines = [
        line
        for page in PAGES
        for block in re.findall(r'```bash\n(.*?)```', page.read_text(encoding='utf-8'), re.DOTALL)
        for line in block.splitlines()
        if re.match(r'ros2 (topic|service|action|param|lifecycle|node|interface) ', line)
    ]
    return list(dict.fromkeys(lines))


def quoted_in_text() -> list[str]:
    """The commands that stand in a sentence, between backticks."""
    return [
        line
        for page in PAGES
        for line in re.findall(r'`(ros2 [^`]+ "[^`]+")`', page.read_text(encoding='utf-8'))
    ]


def words_of(line: str) -> tuple[tuple[str, str], list[str]]:
    """The verb of a command in two words, and what follows it without options."""
    words = shlex.split(line, comments=True)
    rest = [word for word in words[3:] if not word.startswith('--')]
    return (words[1], words[2]), rest


def interface(name: str) -> Any:
    """The class that a command calls by a name such as penguin_msgs/srv/Ask."""
    package, kind, base = name.split('/')
    return getattr(importlib.import_module(f'{package}.{kind}'), base)


def filled(name: str, text: str) -> Any:
    """The message that the command sends: its class with the fields that the YAML gives."""
    kind = interface(name)
    request = kind.Goal if hasattr(kind, 'Goal') else getattr(kind, 'Request', kind)
    fields = yaml.safe_load(text)
    message = request()
    assert set(fields) <= set(message.get_fields_and_field_types()), text
    for field, value in fields.items():
        if isinstance(value, dict):
            value = type(getattr(message, field))(**value)
        setattr(message, field, value)  # rclpy's messages check the type
    return message
