# SPDX-License-Identifier: Apache-2.0
"""A checkpoint or bundle, its tokenizer and an open backend together. Knows no requests.

Everything here runs on the worker thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from penguin_ros.backends.base.backend import Backend
from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.config import ModelConfig, PenguinConfig, VisualConfig
from penguin_ros.errors import SettingError
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.generation.speculative.draft_history import DraftHistory
from penguin_ros.pipeline_status import ModelDescription
from penguin_ros.preprocessing.clip_inputs import Preprocessor
from penguin_ros.window.window_rules import WindowRules

Model = Checkpoint | Bundle
"""Both have a name, a digest, a shape and a tokenizer."""

BackendFactory = Callable[[ModelConfig, Model], Backend]
"""Makes the backend that shall run a model, not open yet."""

BYTES_PER_NUMBER = {'float32': 4, 'bfloat16': 2, 'float16': 2}


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """Ready to generate."""

    source: Model
    backend: Backend
    facts: ModelDescription
    caches: Caches
    draft_history: DraftHistory = field(default_factory=DraftHistory)

    def preprocessor(self, visual: VisualConfig) -> Preprocessor:
        """For the settings of one request."""
        return Preprocessor(self.source.shape, self.source.tokenizer, visual)

    def window_rules(self, config: PenguinConfig) -> WindowRules:
        """What the settings and the model say about the present of a camera."""
        return WindowRules(config, self.preprocessor(config.visual).video_unit)

    def new_output(self) -> GenerationOutput:
        """Makes an empty output, for the text of one request; any thread."""
        return GenerationOutput(Detokenizer(self.source.tokenizer.token_bytes))


def load_model(
    config: ModelConfig,
    make_backend: BackendFactory,
    progress: Callable[[str], None],
    steady_ns: Callable[[], int],
) -> LoadedModel:
    """Opens the bundle or checkpoint, its tokenizer and the backend; SettingError, or what they
    raise, with all closed.
    """
    start_ns = steady_ns()
    model = open_model(config, progress)
    progress(f'reading the tokenizer of {model.name}')
    _ = model.tokenizer
    backend = make_backend(config, model)
    try:
        progress(f'loading the weights of {model.name}')
        backend.open()
        progress(f'{model.name} is loaded')
        caches = (
            Caches(backend, config.encoder_cache_bytes, True)
            if config.prefix_caching
            else Caches(backend)
        )
        return LoadedModel(
            model, backend, _facts(config, model, backend, steady_ns() - start_ns), caches
        )
    except BaseException:
        with suppress(Exception):
            backend.close()
        raise


def forget_results(model: LoadedModel | None) -> None:
    """What is computed from now on uses nothing of before; any thread."""
    if model is not None:
        model.caches.forget()


def open_model(config: ModelConfig, progress: Callable[[str], None]) -> Model:
    """What the settings name: the bundle when there is one, else the checkpoint; SettingError when
    there is neither.
    """
    if config.bundle:
        progress(f'opening and checking bundle {config.bundle}')
        return open_bundle(config.bundle)
    if not config.checkpoint:
        raise SettingError(
            'neither model.bundle nor model.checkpoint is set',
            'the tokenizer and all sizes are read from it',
            'Set model.bundle to a folder that penguin build made, or model.checkpoint to a folder or a hub id',
        )
    progress(f'opening checkpoint {config.checkpoint}')
    return open_checkpoint(config.checkpoint, progress=progress)


def _facts(config: ModelConfig, model: Model, backend: Backend, load_ns: int) -> ModelDescription:
    opened, (language, vision) = backend.description, _parameters(model)
    return ModelDescription(
        opened.model_name,
        opened.model_digest,
        config.bundle or config.checkpoint,
        opened.name,
        opened.device,
        opened.precision,
        opened.max_length,
        opened.slots,
        opened.vocabulary_size,
        language,
        vision,
        _weight_bytes(model, opened.precision),
        load_ns,
    )


def _parameters(model: Model) -> tuple[int, int]:
    """Of the LLM, and of encoder and projector."""
    if isinstance(model, Bundle):
        found = model.manifest.parameters
        return found.get('language', 0), found.get('vision', 0)
    tensors = model.tensors
    sizes = {
        name: math.prod(tensors.shape(name))
        for name in tensors.names()
        if not (model.shape.is_tied and name == 'llm.lm_head.weight')
    }
    language = sum(size for name, size in sizes.items() if name.startswith('llm.'))
    return language, sum(sizes.values()) - language


def _weight_bytes(model: Model, precision: str) -> int:
    if isinstance(model, Bundle):
        files = {name for graph in model.manifest.graphs for name in graph.needs}
        return sum(model.manifest.files[name].bytes for name in files)
    return sum(_parameters(model)) * BYTES_PER_NUMBER.get(precision, 0)
