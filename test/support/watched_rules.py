# SPDX-License-Identifier: Apache-2.0
"""A live pipeline whose rules are watched: the scripted model says yes to conditions that hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.live_pipeline import SECOND, START, LivePipeline
from support.stepped_jobs import LIVENESS_SECONDS
from support.watching_node import says

from penguin_ros.requests.rule_runner import Clocks, FoundEvent, RuleRunner
from penguin_ros.rules.event import RuleState
from penguin_ros.rules.rule import Rule
from penguin_ros.rules.rule_set import RuleSet


class WatchedRules(LivePipeline):
    """`holding`: the conditions to which the model says yes; to all others it says no. `found` are
    the events so far. What the runner posts waits until `settle`.
    """

    def __init__(
        self, checkpoint: Path, *rules: Rule, cameras: tuple[str, ...] = ('front',), **values: Any
    ) -> None:
        super().__init__(checkpoint, cameras, rule__calibrated=False, rule__dark_level=0, **values)
        self._given = rules
        self.holding: set[str] = set()
        self.found: list[FoundEvent] = []
        self._posted: list[Any] = []
        self.rules = RuleSet(self.config, cameras, self.steady)
        self.runner = RuleRunner(
            self.rules,
            self.pipeline.rules,
            Clocks(self.now, self.steady),
            self._posted.append,
            self.found.extend,
        )

    def __enter__(self) -> WatchedRules:
        super().__enter__()
        assert self.backend is not None
        self.backend.script = self._answer
        for rule in self._given:
            self.rules.set_rule(rule, 'service', self.now())
        self.runner.start(self.pipeline.status().cameras)
        return self

    def show(self, *seconds: float, camera: str = 'front') -> None:
        """Frames at these seconds after START, each of which is settled before the next one."""
        for second in seconds:
            self.offer(second, camera)
            self.settle()

    def offer(self, second: float, camera: str = 'front') -> None:
        """One frame, as the node would note it."""
        self.frames(round(second * 1000), camera=camera)
        self.steady.turn(max(0, self.now() - START - self.steady()))
        self.runner.note_frame(camera, START + round(second * SECOND))

    def settle(self) -> None:
        """Waits until nothing is under way, and takes what was posted."""
        while True:
            assert self.pipeline._scheduler.wait_idle(LIVENESS_SECONDS)
            if not self._posted:
                return
            self._posted.pop(0)()

    def state(self, rule: str = 'r', camera: str = 'front') -> RuleState:
        return next(
            each for each in self.rules.states() if (each.rule, each.camera) == (rule, camera)
        )

    @property
    def kinds(self) -> list[str]:
        """What came of the rules, as 'begin r'."""
        return [f'{each.event.kind.name.lower()} {each.event.rule}' for each in self.found]

    def _answer(self, ids: tuple[int, ...]) -> int | None:
        model = self.pipeline._answering.model
        assert model is not None
        tokenizer = model.source.tokenizer
        question = tokenizer.decode(list(ids)).rpartition('user')[2]
        return says(question, list(self.holding), tokenizer, ids)
