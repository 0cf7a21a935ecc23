# SPDX-License-Identifier: Apache-2.0
"""A checkpoint, its tokenizer and an open backend together. Knows no requests; everything here runs on the worker thread."""
from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from penguin_ros.backends.base import Backend
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.config import ModelConfig, VisualConfig
from penguin_ros.errors import SettingError
from penguin_ros.generation.text_stream import TextStream
from penguin_ros.pipeline_status import ModelFacts
from penguin_ros.preprocessing.clip_inputs import Preprocessor

BackendFactory = Callable[[ModelConfig, 'Checkpoint | None'], Backend]

BYTES_PER_NUMBER = {'float32': 4, 'bfloat16': 2, 'float16': 2}


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """Ready to generate."""

    checkpoint: Checkpoint
    backend: Backend
    facts: ModelFacts

    def preprocessor(self, visual: VisualConfig) -> Preprocessor:
        """For the settings of one request."""
        return Preprocessor(self.checkpoint.shape, self.checkpoint.tokenizer, visual)

    def text_stream(self) -> TextStream:
        """For the text of one request."""
        return TextStream(self.checkpoint.tokenizer.token_bytes)


def load_model(config: ModelConfig, make_backend: BackendFactory, progress: Callable[[str], None],
               steady_ns: Callable[[], int]) -> LoadedModel:
    """Opens the checkpoint, its tokenizer and the backend; SettingError, or what they raise, with the backend closed again."""
    start_ns = steady_ns()
    if not config.checkpoint:
        raise SettingError('model.checkpoint is empty', 'the tokenizer and the sizes of the network are read from it',
                           'Set it to a folder or a hub id')
    progress(f'opening checkpoint {config.checkpoint}')
    checkpoint = open_checkpoint(config.checkpoint, progress=progress)
    progress(f'reading the tokenizer of {checkpoint.name}')
    _ = checkpoint.tokenizer
    backend = make_backend(config, checkpoint)
    try:
        progress(f'loading the weights of {checkpoint.name}')
        backend.open()
        progress(f'{checkpoint.name} is loaded')
        return LoadedModel(checkpoint, backend, _facts(config, checkpoint, backend, steady_ns() - start_ns))
    except BaseException:
        with suppress(Exception):
            backend.close()
        raise


def _facts(config: ModelConfig, checkpoint: Checkpoint, backend: Backend, load_ns: int) -> ModelFacts:
    opened, tensors = backend.description, checkpoint.tensors
    sizes = {name: math.prod(tensors.shape(name)) for name in tensors.names()
             if not (checkpoint.shape.is_tied and name == 'llm.lm_head.weight')}
    language = sum(size for name, size in sizes.items() if name.startswith('llm.'))
    vision = sum(sizes.values()) - language
    return ModelFacts(opened.model_name, opened.model_digest, config.checkpoint, opened.name, opened.device, opened.precision,
                      opened.max_length, opened.slots, opened.vocabulary_size, language, vision,
                      (language + vision) * BYTES_PER_NUMBER.get(opened.precision, 0), load_ns)
