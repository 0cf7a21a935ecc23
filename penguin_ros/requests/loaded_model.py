# SPDX-License-Identifier: Apache-2.0
"""A checkpoint or bundle, its tokenizer and an open backend together.

Everything here runs on the worker thread, except `forget_results`, which any thread may call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec

from penguin_ros.backends.base.backend import Backend
from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.checkpoint.calibration import AnswerTemperatures
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.config import ModelConfig, PenguinConfig, VisualConfig
from penguin_ros.errors import SettingError
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.json_grammar import JsonGrammars, Vocabulary
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.generation.speculative.draft_history import DraftHistory
from penguin_ros.generation.stop_texts import StopTexts
from penguin_ros.pipeline_status import ModelDescription
from penguin_ros.preprocessing.clip_inputs import Preprocessor
from penguin_ros.preprocessing.frame_plan import video_unit
from penguin_ros.scoring.scorer import AnswerScorer
from penguin_ros.user_cache import expanded
from penguin_ros.window.window_rules import WindowRules

Model = Checkpoint | Bundle
"""Both have a name, a digest, a shape, parameter counts and a tokenizer."""

BackendFactory = Callable[[ModelConfig, Model], Backend]
"""Makes the backend that shall run a model, not open yet."""

BYTES_PER_NUMBER = {'float32': 4, 'bfloat16': 2, 'float16': 2}


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model that is ready to generate; `answer_temperature` as in ModelConfig."""

    source: Model
    backend: Backend
    description: ModelDescription
    caches: Caches
    draft_history: DraftHistory = field(default_factory=DraftHistory)
    answer_temperature: float = 0.0

    def preprocessor(self, visual: VisualConfig) -> Preprocessor:
        """Returns a preprocessor for the settings of one request."""
        return Preprocessor(self.source.shape, self.source.tokenizer, visual)

    def window_rules(self, config: PenguinConfig) -> WindowRules:
        """Returns what the settings and the model say about the window of a camera."""
        return WindowRules(config, video_unit(self.source.shape.processor))

    @cached_property
    def scorer(self) -> AnswerScorer:
        """Scores the answers to questions, see `scoring/`."""
        source, given = self.source, self.answer_temperature
        temperatures = AnswerTemperatures(given, given) if given else source.answer_temperatures
        return AnswerScorer(source.tokenizer.encode_text, source.shape.stop_token_ids, temperatures)

    @cached_property
    def json_grammars(self) -> JsonGrammars:
        """Compiles JSON schemas; any thread. ImportError without llguidance."""
        tokenizer = self.source.tokenizer
        return JsonGrammars(
            Vocabulary(
                tokenizer.token_bytes,
                tokenizer.encode_text,
                self.description.vocabulary_size,
                self.source.shape.stop_token_ids,
            )
        )

    def new_output(self, stop: Sequence[str] = ()) -> GenerationOutput:
        """Makes an empty output, for the text of one request, which the texts `stop` end; any
        thread.
        """
        detokenizer = Detokenizer(self.source.tokenizer.token_bytes)
        return GenerationOutput(detokenizer, stop_texts=StopTexts(stop) if stop else None)


def load_model(
    config: ModelConfig,
    make_backend: BackendFactory,
    progress: Callable[[str], None],
    steady_ns: Callable[[], int],
) -> LoadedModel:
    """Opens the bundle or checkpoint, its tokenizer and the backend; `progress` gets a line of text
    before each.

    Raises SettingError and what these raise, with everything closed.
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
        description = _description(config, model, backend, steady_ns() - start_ns)
        loaded = LoadedModel(model, backend, description, caches)
        _prepare_json(loaded, progress)
        return loaded
    except BaseException:
        with suppress(Exception):
            backend.close()
        raise


def forget_results(model: LoadedModel | None) -> None:
    """Makes what is computed from now on use nothing that was computed before; any thread."""
    if model is not None:
        model.caches.forget()


def open_model(config: ModelConfig, progress: Callable[[str], None]) -> Model:
    """Opens what the settings name: the bundle when there is one, else the checkpoint; raises
    SettingError when there is neither.
    """
    if config.bundle:
        progress(f'opening and checking bundle {config.bundle}')
        return open_bundle(expanded(config.bundle))
    if not config.checkpoint:
        raise SettingError(
            'neither model.bundle nor model.checkpoint is set',
            'the tokenizer and all sizes are read from it',
            'Set model.bundle to a folder that penguin build made, or model.checkpoint to a folder'
            ' or a hub id; penguin_sim is the small model of the simulated world that is included',
        )
    progress(f'opening checkpoint {config.checkpoint}')
    return open_checkpoint(expanded(config.checkpoint), progress=progress)


def _prepare_json(model: LoadedModel, progress: Callable[[str], None]) -> None:
    """Has the vocabulary read where the library for JSON answers is installed: later that would
    hold up every thread of the node. Questions that need it tell what is wrong with it.
    """
    if find_spec('llguidance') is not None:
        progress(f'reading the vocabulary of {model.source.name} for JSON answers')
        with suppress(Exception):
            _ = model.json_grammars


def _description(
    config: ModelConfig, model: Model, backend: Backend, load_ns: int
) -> ModelDescription:
    opened = backend.description
    parameters = model.parameter_counts
    return ModelDescription(
        name=opened.model_name,
        digest=opened.model_digest,
        source=config.bundle or config.checkpoint,
        backend=opened.ran,
        device=opened.device,
        precision=opened.precision,
        max_length=opened.max_length,
        slots=opened.slots,
        vocabulary_size=opened.vocabulary_size,
        language_parameters=parameters.get('language', 0),
        vision_parameters=parameters.get('vision', 0),
        weight_bytes=_weight_bytes(model, opened.precision),
        load_ns=load_ns,
        way=opened.way,
    )


def _weight_bytes(model: Model, precision: str) -> int:
    if isinstance(model, Bundle):
        return model.manifest.weight_bytes
    return sum(model.parameter_counts.values()) * BYTES_PER_NUMBER.get(precision, 0)
