# SPDX-License-Identifier: Apache-2.0
"""The part of the pipeline's front door through which rules come: evaluations are submitted here.

Every method may be called from any thread and returns at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from penguin_ros.request import Interval, Priority
from penguin_ros.requests.rule_job import RuleContext, RuleJob, RuleResults, RuleWork
from penguin_ros.requests.validation import checked_camera
from penguin_ros.rules.rule import Rule
from penguin_ros.rules.schedule import Batch
from penguin_ros.window.camera import Camera

OnEnd = Callable[[RuleResults], None]
"""Is called once, on the worker thread, and must be quick."""


class RuleEvaluations:
    """Evaluates rules on `cameras` as jobs that `submit` hands to the scheduler; `context` makes
    what a job needs, or raises Inactive.
    """

    def __init__(
        self,
        cameras: Mapping[str, Camera],
        submit: Callable[[RuleJob], None],
        context: Callable[[Camera], RuleContext],
    ) -> None:
        self._cameras = cameras
        self._submit_job = submit
        self._context = context

    def submit(self, batches: Sequence[Batch], on_end: OnEnd) -> None:
        """Has the rules of one camera evaluated on what it shows when the job is started; an
        evaluation of the camera that still waits ends in RequestReplaced. UnknownCamera, Inactive.
        """
        self._submit(RuleWork(tuple(batches)), on_end)

    def test(self, rule: Rule, camera: str, interval: Interval | None, on_end: OnEnd) -> None:
        """Has one rule evaluated for somebody who waits, as a question is answered: on the present,
        or on an interval of the past.

        Raises UnknownCamera, IntervalUnavailable, Inactive, Busy.
        """
        name = checked_camera(camera, tuple(self._cameras))
        if interval is not None:
            self._cameras[name].check_interval(interval)
        batch = Batch(name, rule.clip_ns, (rule,))
        self._submit(RuleWork((batch,), Priority.QUESTION, interval), on_end)

    def check_present(self, camera: str) -> None:
        """Raises NoFrames or StaleFrames when a camera does not show the present."""
        found = self._cameras[checked_camera(camera, tuple(self._cameras))]
        found.check_present(self._context(found).config)

    def _submit(self, work: RuleWork, on_end: OnEnd) -> None:
        name = checked_camera(work.batches[0].camera, tuple(self._cameras))
        self._submit_job(RuleJob(work, self._context(self._cameras[name]), on_end))
