# SPDX-License-Identifier: Apache-2.0
"""What may be said with a question of the Python client, and the question that it makes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from penguin_ros.ros.client.question_client import AskedQuestion


class AskOptions(TypedDict, total=False):
    """Options of a question; all may be left out.

    `camera` is a name, '' the node's choice, 'none' no camera. `last_seconds` asks about that
    stretch of the past, `interval_ns` about the one between two stamps, `images` about JPEG or PNG
    files or bytes. `choices` get a probability each; `json_schema`, a dictionary or text, makes the
    answer's `value` conform to it. `conversation` 'new' begins one, its id continues it.
    `max_tokens` and `deadline_s` bound the answer, `timeout_s` how long the client waits.
    """

    camera: str
    last_seconds: float
    interval_ns: tuple[int, int]
    images: Sequence[str | Path | bytes]
    choices: Sequence[str]
    json_schema: str | Mapping[str, Any]
    max_tokens: int
    deadline_s: float
    logprobs: bool
    conversation: str
    timeout_s: float


def asked_question(question: str, options: AskOptions) -> tuple[AskedQuestion, float | None]:
    """Returns a question with its options, and the time to wait, None where none was given.

    TypeError when an option is none.
    """
    given: dict[str, Any] = dict(options)
    timeout_s = given.pop('timeout_s', None)
    given['images'] = [
        image if isinstance(image, bytes) else Path(image) for image in given.get('images', ())
    ]
    schema = given.get('json_schema', '')
    given['json_schema'] = schema if isinstance(schema, str) else json.dumps(schema)
    return AskedQuestion(question, **given), timeout_s
