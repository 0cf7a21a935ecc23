# SPDX-License-Identifier: Apache-2.0
"""Texts of an open model with and without reuse, timed by phase.

Both variants run in one process on one set of weights, in turns, with the prompts, the frames and
the generation loop of the node.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from penguin_ros.backends.base.slots import slots_within
from penguin_ros.benchmark.live.probe import ProbedBackend
from penguin_ros.benchmark.live.tasks import JsonObject, LiveTask
from penguin_ros.benchmark.tasks import Target
from penguin_ros.config import PenguinConfig
from penguin_ros.evaluation.agreement import TextLogits, joined
from penguin_ros.export.bundle_cache import with_bundle
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.generation.params import SamplingParams
from penguin_ros.generation.speculative.draft_history import PromptHistory
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.requests.loaded_model import LoadedModel
from penguin_ros.settings import with_values
from penguin_ros.steps import run_to_end
from penguin_ros.window.camera_window import ChosenClip

ROUNDS = 3
"""How often a case is measured, unless more is asked for."""

Samples = dict[str, float]


@dataclass(frozen=True, eq=False)
class TimedText:
    """One text: its `tokens` with the logits they were chosen from, and its `samples`, which are
    seconds by phase and counts.
    """

    tokens: TextLogits
    samples: Samples
    inputs: ModelInputs
    output: GenerationOutput


class TextBench:
    """Makes texts on one open model. `rounding` is how far its logits differ when passes are cut
    differently, None until that was measured. `memory` has what each use of the caches kept.
    """

    def __init__(self, loaded: LoadedModel, config: PenguinConfig, task: LiveTask) -> None:
        self.loaded = loaded
        self.config = config
        self.task = task
        self.rounding: float | None = None
        self.is_slow = False
        self.memory: list[JsonObject] = []

    def text(
        self,
        caches: Caches,
        found: ChosenClip,
        question: str,
        history: PromptHistory | None = None,
        limits: Mapping[str, Any] | None = None,
    ) -> TimedText:
        """Makes one text about a clip; `limits` are fields of SamplingParams that differ from what
        the settings say.
        """
        start = time.perf_counter()
        preprocessor = self.loaded.preprocessor(self.config.visual)
        inputs = run_to_end(preprocessor.clip_steps(found.clip, question, plan=found.plan))
        prepare_s = time.perf_counter() - start
        output = self.loaded.new_output()
        rows = []
        with closing(
            generate(
                caches,
                inputs,
                replace(self._params(), **(limits or {})),
                output,
                time.perf_counter_ns,
                history,
            )
        ) as steps:
            for step in steps:
                if step.logits is not None:
                    rows.append(step.logits)
        logits = joined(rows, self.loaded.description.vocabulary_size)
        samples = _samples(output, prepare_s, inputs)
        tokens = TextLogits(tuple(output.token_ids), logits)
        return TimedText(tokens, samples, inputs, output)

    @property
    def plain(self) -> Caches:
        """Caches that keep nothing."""
        return Caches(self.loaded.backend)

    @contextmanager
    def kept(self) -> Iterator[Caches]:
        """Caches that keep as those of the node do; what they hold at the end is noted and
        freed.
        """
        backend = self.loaded.backend
        config = self.config.model
        slots = slots_within(config, backend.description.slot_bytes)
        caches = Caches(ProbedBackend(backend, slots), config.encoder_cache_bytes, True)
        try:
            yield caches
            self.memory.append(self._held(caches))
        finally:
            caches.prefix_cache.free_kept()
            caches.forget()

    @property
    def rounds(self) -> int:
        """How often each case is measured."""
        return self.task.rounds or (1 if self.is_slow else ROUNDS)

    def _params(self) -> SamplingParams:
        config = self.config
        tokens = self.task.tokens
        sampling = replace(config.generation, max_repeats=0) if tokens else config.generation
        return SamplingParams(
            tokens or config.caption.max_tokens,
            () if tokens else self.loaded.source.shape.stop_token_ids,
            sampling,
            config.model.prefill_chunk or self.loaded.backend.description.prefill_chunk,
            keep_logits=True,
        )

    def _held(self, caches: Caches) -> JsonObject:
        counts = caches.stats()
        opened = self.loaded.backend.description
        positions = counts.prefix_cache.kept_positions
        return {
            'features': counts.encoder_cache.frames,
            'feature_bytes': counts.encoder_cache.bytes,
            'kv_slots': counts.prefix_cache.kept_slots,
            'kv_positions': positions,
            'kv_bytes': positions * opened.slot_bytes // opened.max_length,
            'slot_bytes': opened.slot_bytes,
        }


def _samples(output: GenerationOutput, prepare_s: float, inputs: ModelInputs) -> Samples:
    stats = output.stats
    encode_s = stats.encode_ns / 1e9
    prefill_s = stats.prefill_ns / 1e9
    return {
        'prepare_s': prepare_s,
        'encode_s': encode_s,
        'prefill_s': prefill_s,
        'decode_s': stats.decode_ns / 1e9,
        'first_token_s': prepare_s + encode_s + prefill_s,
        'tokens': len(output.token_ids),
        'passes': stats.forward_passes,
        'drafted': stats.drafted_tokens,
        'accepted': stats.accepted_tokens,
        'frames': len(inputs.frames),
        'prompt_tokens': stats.prompt_tokens,
        'visual_tokens': stats.visual_tokens,
        'reused_tokens': stats.reused_tokens,
        'reused_frames': stats.reused_frames,
    }


def live_config(target: Target) -> PenguinConfig:
    """The settings of a target: a growing window unless its settings say otherwise. A bundle is
    built of a checkpoint where the backend needs one.
    """
    config = with_values(PenguinConfig(), {'clip.window': 'growing', **target.settings})
    if target.is_bundle:
        return replace(config, model=replace(config.model, bundle=target.source, checkpoint=''))
    return replace(
        config, model=with_bundle(replace(config.model, bundle='', checkpoint=target.source))
    )
