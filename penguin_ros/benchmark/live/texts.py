# SPDX-License-Identifier: Apache-2.0
"""Texts of an open model with and without reuse, timed by phase, and the record of the cases made
of them.

Both sides run in one process on one set of weights, in turns, with the prompts, the frames and the
loop of the node.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from penguin_ros.backends.base.slots import slots_within
from penguin_ros.backends.open_backend import make_backend
from penguin_ros.benchmark.live.probe import ProbedBackend
from penguin_ros.benchmark.live.tasks import CAPTIONS, CLIP, GROWTH, SLIDE, LiveTask, Record
from penguin_ros.benchmark.machine import resident_bytes
from penguin_ros.benchmark.tasks import Target, TargetError
from penguin_ros.config import PenguinConfig
from penguin_ros.console import status_line
from penguin_ros.errors import PenguinError
from penguin_ros.evaluation.agreement import Tokens, joined
from penguin_ros.export.bundle_cache import with_bundle
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.generation.params import SamplingParams
from penguin_ros.generation.speculative.draft_history import PromptHistory
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.requests.loaded_model import LoadedModel, load_model
from penguin_ros.settings import Value, with_values
from penguin_ros.steps import run_to_end
from penguin_ros.window.camera_window import ChosenClip

SLOW_S = 0.5
"""A model that takes longer for two small frames is slow: one round is measured, and few captions,
unless more are asked for.
"""

ROUNDS = 3

Samples = dict[str, float]


@dataclass(frozen=True, eq=False)
class Text:
    """`samples`: seconds by phase and counts; `tokens` with the logits they were chosen from."""

    tokens: Tokens
    samples: Samples
    inputs: ModelInputs
    output: GenerationOutput


class TextBench:
    """Makes texts on one open model; see the module."""

    def __init__(self, loaded: LoadedModel, config: PenguinConfig, task: LiveTask) -> None:
        self.loaded, self.config, self.task = loaded, config, task
        self.rounding: float | None = None  # until it is measured
        self.is_slow = False
        self.memory: list[Record] = []

    def text(
        self,
        caches: Caches,
        found: ChosenClip,
        question: str,
        history: PromptHistory | None = None,
        limits: Mapping[str, Any] | None = None,
    ) -> Text:
        """One text about a clip; `limits`: fields of SamplingParams that differ from the settings."""
        start = time.perf_counter()
        preprocessor = self.loaded.preprocessor(self.config.visual)
        inputs = run_to_end(preprocessor.clip_steps(found.clip, question, plan=found.plan))
        prepare_s = time.perf_counter() - start
        output, rows = self.loaded.new_output(), []
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
        return Text(Tokens(tuple(output.token_ids), logits), samples, inputs, output)

    @property
    def plain(self) -> Caches:
        """Keeps nothing."""
        return Caches(self.loaded.backend)

    @contextmanager
    def kept(self) -> Iterator[Caches]:
        """Keeps as the node does; what it holds at the end is noted and freed."""
        backend, config = self.loaded.backend, self.config.model
        slots = slots_within(config, backend.description.slot_bytes)
        reuse = Caches(ProbedBackend(backend, slots), config.encoder_cache_bytes, True)
        try:
            yield reuse
            self.memory.append(self._held(reuse))
        finally:
            reuse.prefix_cache.free_kept()
            reuse.forget()

    @property
    def rounds(self) -> int:
        """How often each case is measured."""
        return self.task.rounds or (1 if self.is_slow else ROUNDS)

    def _params(self) -> SamplingParams:
        config, tokens = self.config, self.task.tokens
        sampling = replace(config.generation, max_repeats=0) if tokens else config.generation
        return SamplingParams(
            tokens or config.caption.max_tokens,
            () if tokens else self.loaded.source.shape.stop_token_ids,
            sampling,
            config.model.prefill_chunk,
            keep_logits=True,
        )

    def _held(self, reuse: Caches) -> Record:
        counts, opened = reuse.stats(), self.loaded.backend.description
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


def live_config(target: Target, further: Mapping[str, Value] | None = None) -> PenguinConfig:
    """The settings of a side: a growing window, unless it says otherwise; a checkpoint becomes a
    bundle where that is needed.
    """
    config = with_values(
        PenguinConfig(), {'clip.window': 'growing', **(further or {}), **target.settings}
    )
    if target.is_bundle:
        return replace(config, model=replace(config.model, bundle=target.source, checkpoint=''))
    return replace(
        config, model=with_bundle(replace(config.model, bundle='', checkpoint=target.source))
    )


def texts_record(task: LiveTask) -> Record:
    """Opens the model, runs the cases that are texts, closes it; raises what any of that raises."""
    config = live_config(task.target)
    scenes = _streams(task, config)  # before the model is there: drawing takes memory and time
    # The side that keeps nothing needs a slot that nothing is kept in.
    one_more = replace(config.model, kv_slots=config.model.kv_slots + 1, kv_bytes=2**40)
    loaded = load_model(one_more, make_backend, status_line, time.monotonic_ns)
    try:
        bench = TextBench(loaded, config, task)
        record = {
            'facts': {**asdict(loaded.description), 'resident_loaded': resident_bytes()[0]},
            **_cases(bench, scenes),
        }
        return {
            **record,
            'memory': _most(bench.memory),
            'rounding': bench.rounding,
            'resident_peak': resident_bytes()[1],
        }
    finally:
        loaded.backend.close()


def _streams(task: LiveTask, config: PenguinConfig) -> Any:
    if CAPTIONS not in task.cases:
        return None
    from penguin_ros.benchmark.live.captions import MOST_CAPTIONS
    from penguin_ros.benchmark.live.scenes import CHANGING, STATIC, stream

    seconds = task.captions or MOST_CAPTIONS
    return [
        stream(scene, seconds, config.clip.fps, task.size, task.video)
        for scene in (STATIC, CHANGING)
    ]


def _cases(bench: TextBench, scenes: Any) -> Record:
    from penguin_ros.benchmark.live.captions import CaptionRuns
    from penguin_ros.benchmark.live.clips import Clips
    from penguin_ros.benchmark.live.growth import growth

    clips = Clips(bench)
    bench.is_slow = clips.warm_up() > SLOW_S
    record: Record = {'is_slow': bench.is_slow, 'rounds': bench.rounds, 'cases': []}
    parts: dict[str, Callable[[], Record]] = {
        CLIP: lambda: clips.clip(bench.rounds),
        SLIDE: lambda: clips.slide(bench.rounds),
        CAPTIONS: lambda: CaptionRuns(bench).all(scenes),
        GROWTH: lambda: {'growth': growth(bench)},
    }
    for name in bench.task.cases:
        status_line(f'{bench.task.target.name}: {name}')
        try:
            found = parts[name]()
        except PenguinError as error:  # what was measured before it counts
            record['error'] = asdict(TargetError.of(error))
            break
        record['cases'] += found.pop('cases', [])
        record.update(found)
    return record


def _most(held: list[Record]) -> Record:
    """What was held at most, of each kind."""
    return {name: max(each[name] for each in held) for name in held[0]} if held else {}
