# SPDX-License-Identifier: Apache-2.0
"""The lines that the package's sign shows to users run as they stand there."""

from __future__ import annotations

import inspect
import re
import time
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest

from penguin_ros import testing
from penguin_ros.config import PenguinConfig
from penguin_ros.frame import Frame
from penguin_ros.pipeline import Pipeline
from penguin_ros.request import Answer, Request
from penguin_ros.settings import with_values
from penguin_ros.testing.random_checkpoint import write_random_checkpoint
from penguin_ros.testing.scripted_backend import answering


def test_the_pipeline_of_the_example_sees_a_bear(tmp_path: Path) -> None:
    text = inspect.cleandoc(testing.__doc__ or '')
    example = re.findall(r'^    (.*)$', text.split('A test of a node')[0], re.MULTILINE)
    names = {
        'tmp_path': tmp_path,
        'time': time,
        'PenguinConfig': PenguinConfig,
        'Pipeline': Pipeline,
        'answering': answering,
        'with_values': with_values,
        'write_random_checkpoint': write_random_checkpoint,
    }
    exec('\n'.join(example), names)
    pipeline = names['pipeline']
    assert isinstance(pipeline, Pipeline)
    try:
        pipeline.activate()
        pipeline.add_frame(Frame(time.time_ns(), np.zeros((56, 84, 3), np.uint8), 'front'))
        answers: SimpleQueue[Answer] = SimpleQueue()
        pipeline.submit(Request('', 'What is there?'), answers.put)
        assert answers.get(timeout=60).text == 'A bear walks over the ice.'
    finally:
        pipeline.close()


def test_the_node_takes_a_backend_factory_as_the_example_says() -> None:
    pytest.importorskip('rclpy', reason='no ROS 2 here')
    from penguin_ros.ros.node import main as node

    assert 'backend_factory' in inspect.signature(node.main).parameters
