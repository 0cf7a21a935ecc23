# SPDX-License-Identifier: Apache-2.0
"""Lets rules watch simulated scenes whose events are known, through the life cycle of the node, and
two baselines beside them: searching the words of captions, and asking each rule as a text question.

Every second there is a new frame, an evaluation of all rules of the scene in one pass over the
last frames, a caption and a text question per rule.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from penguin_ros.config import PenguinConfig
from penguin_ros.console import progress_bar
from penguin_ros.evaluation.offline import CAMERA
from penguin_ros.evaluation.rule_evaluator import RuleEvaluator, evaluation_of
from penguin_ros.evaluation.rule_events import Track
from penguin_ros.evaluation.rule_scenes import KINDS, RuleScene, rule_scene, stamp_ns
from penguin_ros.evaluation.score import clip_frames
from penguin_ros.frame import Frame, Image
from penguin_ros.pipeline_status import ModelDescription
from penguin_ros.requests.rule_job import firing_answer, question_of
from penguin_ros.rules.event import Evaluation, EventKind
from penguin_ros.rules.monitor import RuleMonitor
from penguin_ros.rules.rule import Rule, checked_rule
from penguin_ros.simulation import words
from penguin_ros.simulation.clips import HELD_OUT
from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.scene import Camera, Scene
from penguin_ros.simulation.world import World

RULES, CAPTION_WORDS, TEXT_QUESTIONS = 'rules', 'caption words', 'text questions'
COUNTED = ', counted'
"""Behind a baseline's name: with N of M as rules have it, instead of every answer at once."""
STATIC_NOISE = 8.0
"""Standard deviation of the pixels of the static scenes, the most that random scenes have."""
STATIC_SECONDS = 600
"""The length of one static scene."""
EMPTY_WORDS = frozenset(
    'is are am do does did a an the there you see it its that this of in and what which how name '
    'describe motion colour has have'.split()
)


@dataclass(frozen=True)
class RuleSuite:
    """What is watched: `scenes` held-out scenes from `skip` on, of all kinds in turn, of which the
    first `baseline_scenes` with the baselines too, and static scenes for `static_s` seconds.
    """

    scenes: int
    skip: int
    baseline_scenes: int
    static_s: int
    width: int
    height: int


@dataclass
class RuleRun:
    """What was found: the tracks of each method; `static_begins` are the events of the static
    scenes that nothing caused, by rule.
    """

    model: ModelDescription
    tracks: dict[str, list[Track]] = field(default_factory=dict)
    baseline_tracks: int = 0
    static_evaluations: int = 0
    static_rules: int = 0
    static_flaps: list[str] = field(default_factory=list)
    static_missing: list[str] = field(default_factory=list)
    evaluation_ms: list[float] = field(default_factory=list)
    unknown: int = 0
    evaluations: int = 0


def score_rules(suite: RuleSuite, config: PenguinConfig) -> RuleRun:
    """Watches everything of the suite. Raises BackendUnavailable where scenes cannot be drawn, and
    what opening a model raises.
    """
    frames = clip_frames(config)
    with World(suite.width, suite.height) as world, RuleEvaluator(config) as evaluator:
        run = RuleRun(evaluator.model.description)
        watch = _Watch(config, evaluator, run, frames)
        seeds = HELD_OUT[suite.skip : suite.skip + suite.scenes]
        with progress_bar('scenes', suite.scenes) as show:
            for number, seed in enumerate(seeds):
                kind = KINDS[number % len(KINDS)]
                scene = rule_scene(world, seed, kind, frames, config.clip.fps)
                watch.scene(scene, has_baselines=number < suite.baseline_scenes)
                show(number + 1, f'scene {number + 1}')
        watch.static(world, suite, seeds[-1] + 1)
        return run


class _Watch:
    """Watches scene after scene and fills the run."""

    def __init__(
        self, config: PenguinConfig, evaluator: RuleEvaluator, run: RuleRun, frames: int
    ) -> None:
        self._config = config
        self._evaluator = evaluator
        self._run = run
        self._frames = frames

    def scene(self, scene: RuleScene, has_baselines: bool) -> None:
        """Adds the tracks of a scene's rules, under each method."""
        rules = [
            checked_rule(condition.rule(f'rule-{place}'), self._config)
            for place, condition in enumerate(scene.conditions)
        ]
        answers: dict[str, list[list[Evaluation]]] = {RULES: []}
        if has_baselines:
            self._run.baseline_tracks += len(rules)
            answers |= {CAPTION_WORDS: [], TEXT_QUESTIONS: []}
        for clip in _clips(scene.images, scene.stamps_s, self._frames):
            answers[RULES].append(self._evaluated(clip, rules))
            if has_baselines:
                answers[CAPTION_WORDS].append(self._searched(clip, rules))
                answers[TEXT_QUESTIONS].append(self._asked(clip, rules))
        truths = [truth for truth in scene.truths if truth]
        for place, (condition, rule) in enumerate(zip(scene.conditions, rules, strict=True)):
            held = tuple(condition.holds(truth) for truth in truths)
            for method, found in answers.items():
                column = [row[place] for row in found]
                for name, counted in _life_cycles(method, rule):
                    begins, ends = events_of(counted, column)
                    self._run.tracks.setdefault(name, []).append(
                        Track(
                            condition.kind,
                            scene.seed,
                            f'{condition.text} {condition.firing_choice}'.strip(),
                            held,
                            begins,
                            ends,
                            tuple(round(one.probability, 4) for one in column),
                        )
                    )

    def static(self, world: World, suite: RuleSuite, seed: int) -> None:
        """Watches static scenes with camera noise; half of the rules hold from the beginning."""
        left_s = suite.static_s
        with progress_bar('static seconds', max(1, suite.static_s)) as show:
            while left_s > 0:
                seconds = min(left_s, STATIC_SECONDS)
                scene = replace(
                    random_scene(seed, 1, 0.0), noise=STATIC_NOISE, camera=Camera(), seconds=seconds
                )
                self._static_scene(world, scene, seconds)
                left_s, seed = left_s - seconds, seed + 1
                show(suite.static_s - left_s, f'{suite.static_s - left_s} s')

    def _static_scene(self, world: World, scene: Scene, seconds: int) -> None:
        rules = [checked_rule(rule, self._config) for rule in _static_rules(scene)]
        fps = self._config.clip.fps
        world.load(scene)
        stamps = [place / fps for place in range(int(seconds * fps) + self._frames - 1)]
        images = (world.render(stamp) for stamp in stamps)
        rows = [self._evaluated(clip, rules) for clip in _clips(images, stamps, self._frames)]
        run = self._run
        run.static_evaluations += len(rows)
        run.static_rules += len(rules)
        for place, rule in enumerate(rules):
            begins, ends = events_of(rule, [row[place] for row in rows])
            is_true = rule.id.startswith('true')
            flaps = len(begins[1 if is_true else 0 :]) + len(ends)
            run.static_flaps += [f'{rule.condition} (seed {scene.seed})'] * flaps
            if is_true and not begins:
                run.static_missing.append(f'{rule.condition} (seed {scene.seed})')

    def _evaluated(self, clip: Sequence[Frame], rules: Sequence[Rule]) -> list[Evaluation]:
        begin = time.perf_counter()
        scores = self._evaluator.scores(clip, rules)
        self._run.evaluation_ms.append((time.perf_counter() - begin) * 1000)
        found = [
            evaluation_of(rule, score, clip[-1].stamp_ns)
            for rule, score in zip(rules, scores, strict=True)
        ]
        limit = self._config.rule.max_other_mass
        self._run.evaluations += len(found)
        self._run.unknown += sum(one.other_mass > limit for one in found)
        return found

    def _searched(self, clip: Sequence[Frame], rules: Sequence[Rule]) -> list[Evaluation]:
        caption = self._evaluator.text(clip, self._config.caption.prompt)
        return [Evaluation(clip[-1].stamp_ns, float(mentions(caption, rule))) for rule in rules]

    def _asked(self, clip: Sequence[Frame], rules: Sequence[Rule]) -> list[Evaluation]:
        answers = [self._evaluator.text(clip, question_of(rule)) for rule in rules]
        return [
            Evaluation(clip[-1].stamp_ns, float(says(answer, rule)))
            for answer, rule in zip(answers, rules, strict=True)
        ]


def mentions(caption: str, rule: Rule) -> bool:
    """Returns whether a caption holds all words of a condition that carry something, whatever their
    endings, and those of the choice that fires.
    """
    told = _stems(caption)
    return _stems(f'{rule.condition} {rule.firing_choice}') <= told


def says(answer: str, rule: Rule) -> bool:
    """Returns whether a text says yes or true, or what the choice that fires says."""
    wanted = _plain(firing_answer(rule))
    given = f' {_plain(answer)} '
    return any(f' {one} ' in given for one in ((wanted,) if rule.choices else ('yes', 'true')))


def events_of(
    rule: Rule, evaluations: Sequence[Evaluation]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the numbers of the evaluations at which events of the rule begin, and end."""
    monitor = RuleMonitor(rule, CAMERA, lambda: 0)
    begins, ends = [], []
    for number, evaluation in enumerate(evaluations):
        for event in monitor.observe(evaluation):
            if event.kind is EventKind.BEGIN:
                begins.append(number)
            elif event.kind is not EventKind.STILL:
                ends.append(number)
    return tuple(begins), tuple(ends)


def _life_cycles(method: str, rule: Rule) -> Iterator[tuple[str, Rule]]:
    if method == RULES:
        yield method, rule
        return
    yield (
        method,
        replace(rule, confirm_count=1, confirm_window=1, heal_count=1, heal_window=1),
    )
    yield method + COUNTED, rule


def _clips(
    images: Iterable[Image], stamps_s: Sequence[float], frames: int
) -> Iterator[list[Frame]]:
    """Yields the last frames at each stamp, once there are enough."""
    clip: list[Frame] = []
    for image, stamp in zip(images, stamps_s, strict=True):
        clip = [*clip[-frames + 1 :], Frame(stamp_ns(stamp), image, CAMERA)]
        if len(clip) == frames:
            yield clip


def _static_rules(scene: Scene) -> list[Rule]:
    """Four rules that hold in a static scene and four that do not."""
    thing = scene.things[0]
    name, number = f'{thing.colour} {thing.shape}', words.NUMBERS[len(scene.things)]
    others = [one for one in words.NUMBERS[2:] if one != number]
    absent = 'pink cone' if all(one.colour != 'pink' for one in scene.things) else 'cyan ball'
    texts = {
        'true-exists': words.EXISTS[0].format(thing=name),
        'true-still': words.IS_IT['still'][0].format(thing=name),
        'false-exists': words.EXISTS[0].format(thing=absent),
        'false-left': words.IS_IT['left'][0].format(thing=name),
        'false-closer': words.IS_IT['toward'][0].format(thing=name),
        'false-stopped': words.IS_IT['stopped'][0].format(thing=name),
        'false-count': words.COUNT_IS[0].format(number=others[0]),
    }
    if len(scene.things) > 1:
        texts['true-count'] = words.COUNT_IS[0].format(number=number)
    return [Rule(name, text) for name, text in texts.items()]


def _stems(text: str) -> frozenset[str]:
    found = re.findall('[a-z]+', text.lower())
    return frozenset(
        re.sub(r'(ping|ing|ped|ed|s|e)$', '', word) for word in found if word not in EMPTY_WORDS
    )


def _plain(text: str) -> str:
    return ' '.join(re.findall('[a-z0-9]+', text.lower()))
