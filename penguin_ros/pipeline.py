# SPDX-License-Identifier: Apache-2.0
"""The front door of the core: frames and questions in, captions and answers out.

Every method may be called from any thread and returns at once, `open` and `close` apart. The
functions that a caller gives are called on the worker thread (pieces of remote answers: on that of
the remote engines) and must be quick; what they raise is counted and logged.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence

from penguin_ros.backends.base.backend import BackendStats
from penguin_ros.backends.open_backend import make_backend
from penguin_ros.clip_buffer import Admission
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import (
    ClockJumped,
    DeviceLost,
    Inactive,
    PenguinError,
    RequestCancelled,
    RequestReplaced,
    SettingError,
)
from penguin_ros.frame import NANOSECONDS, Frame, is_image
from penguin_ros.generation.caches import CacheStats
from penguin_ros.libraries import libraries_needed
from penguin_ros.media.convert import reduced
from penguin_ros.pipeline_status import ModelDescription, PipelineStatus, Ticket
from penguin_ros.request import Answer, Priority, Request, TextPiece
from penguin_ros.requests.answer_job import AnswerJob
from penguin_ros.requests.answering import Answering
from penguin_ros.requests.loaded_model import BackendFactory as BackendFactory
from penguin_ros.requests.loaded_model import LoadedModel, forget_results
from penguin_ros.requests.precompute_job import PrecomputeJob
from penguin_ros.requests.preparation import Preparer
from penguin_ros.requests.question_intake import QuestionIntake, TakenQuestion
from penguin_ros.requests.remote_answers import Surroundings, needs_own_model
from penguin_ros.requests.remote_job import RemoteAnswerJob
from penguin_ros.requests.rule_evaluations import RuleEvaluations
from penguin_ros.requests.rule_job import RuleContext
from penguin_ros.requests.validation import checked_camera
from penguin_ros.scheduler.job import Job, WorkerState
from penguin_ros.scheduler.scheduler import Scheduler
from penguin_ros.settings import changed_values, settings
from penguin_ros.text import cleaned
from penguin_ros.window.camera import Camera

Log = Callable[[str, BaseException], None]
"""Gets a sentence and the exception behind it."""

PATIENCE_NS = NANOSECONDS
"""How long a step may take before requests end without waiting for it."""


def log_exception(what: str, error: BaseException) -> None:
    """Logs with Python's logger `penguin_ros`, which is the default."""
    logging.getLogger('penguin_ros').error(what, exc_info=error)


class Pipeline:
    """Cameras, a model and the requests between them. A pipeline is opened once, then activated and
    deactivated at will, and closed at the end. `rules` has conditions evaluated.

    `now_ns` gives camera time (the clock of the stamps), `steady_ns` a clock that never jumps, for
    durations and deadlines. `backend_factory` makes the backend; None: the one that the settings
    name. `log` gets exceptions that nobody expected, on any thread.
    """

    def __init__(
        self,
        config: PenguinConfig,
        cameras: Sequence[str],
        *,
        now_ns: Callable[[], int],
        steady_ns: Callable[[], int] = time.monotonic_ns,
        backend_factory: BackendFactory | None = None,
        log: Log = log_exception,
    ) -> None:
        self._config = config
        self._now_ns = now_ns
        self._steady_ns = steady_ns
        self._backend_factory = backend_factory or make_backend
        self._log = log
        self._cameras = {name: Camera(name, config, now_ns, steady_ns) for name in cameras}
        self._scheduler = Scheduler(config.question.queue_length, steady_ns, log)
        self._preparer = Preparer(self._report)
        self._intake = QuestionIntake(self._cameras, steady_ns)
        self.rules = RuleEvaluations(self._cameras, self._scheduler.submit, self._rule_context)
        self._scheduler.set_rule_share(config.rule.share)
        self._answering = Answering(
            Surroundings(
                lambda: self._config, now_ns, steady_ns, self._report, self._scheduler.wake
            )
        )
        self._is_active = False
        self._is_closing = False
        self._lock = threading.Lock()  # guards the counts and the error below
        self._invalid_requests = 0
        self._listener_failures = 0
        self._last_error: PenguinError | None = None
        self._last_error_ns: int | None = None

    # --- life -------------------------------------------------------------------------------------

    def open(self, progress: Callable[[str], None] | None = None) -> ModelDescription:
        """Loads the model on the worker thread and waits for it; `progress` gets a line of text, on
        that thread.

        Raises the named error of what failed. It is interrupted by `close` from another thread
        (Inactive) or by a KeyboardInterrupt; the worker then stops at the next line of progress.
        """

        def report(line: str) -> None:
            if self._is_closing:
                raise Inactive('loading was interrupted', 'the pipeline is being closed')
            if progress is not None:
                progress(line)

        def load() -> int:
            with libraries_needed():
                return self._answering.open(self._backend_factory, report)

        self._scheduler.refuse(_not_active())
        self._scheduler.start(load, self._answering.close)
        try:
            self._scheduler.wait_open()
        except BaseException:
            self.close(0.0)
            raise
        return self._answering.description()

    def activate(self) -> None:
        """Takes requests from now on; raises Inactive when no model is loaded."""
        if self._answering.known_description() is None:
            self._loaded()
        self._scheduler.accept()
        self._is_active = True

    def deactivate(self, reason: str = '', timeout_s: float = 0.0) -> bool:
        """Refuses requests and ends those that wait or run with Inactive; frames are still taken.

        Waits up to `timeout_s` until the last one has ended, and returns False when a step takes
        longer.
        """
        self._is_active = False
        self._scheduler.refuse(_not_active(reason))
        self._intake.conversations.forget_all()
        forget_results(self._answering.model)
        for camera in self._cameras.values():
            camera.forget_window()
        return self._scheduler.wait_idle(timeout_s)

    def close(self, timeout_s: float = 4.0) -> bool:
        """Ends every request with Inactive and frees the model; see Scheduler.close for what False
        means.
        """
        self._is_active = False
        self._is_closing = True
        self._preparer.close()
        self._answering.close_remote()
        return self._scheduler.close(timeout_s)

    def configure(self, config: PenguinConfig) -> None:
        """Applies live settings to the next request and the next frame; raises SettingError when
        another setting would change.
        """
        known = settings(config)
        fixed = [name for name in changed_values(self._config, config) if not known[name][1].live]
        if fixed:
            raise SettingError(
                f'{", ".join(fixed)} cannot change now',
                'the model was loaded with the old value',
                'Close the pipeline and open it with the new settings',
            )
        self._config = config
        self._scheduler.set_rule_share(config.rule.share)
        for camera in self._cameras.values():
            camera.configure(config)

    # --- frames -----------------------------------------------------------------------------------

    def add_frame(self, frame: Frame) -> Admission:
        """Takes a frame of a camera, or drops and counts it (see ClipBuffer), and returns what
        became of it; raises UnknownCamera. The image must not be written to afterwards.

        An image that is not (height, width, 3) uint8 with a pixel at least is dropped as `shape`; a
        larger one than buffer.max_frame_pixels is reduced.
        """
        camera = self._camera(frame.camera)
        if not is_image(frame.image):
            camera.count_drop('shape', frame.stamp_ns)
            return Admission('shape')
        image = reduced(frame.image, self._config.buffer.max_frame_pixels)
        admission = camera.add(dataclasses.replace(frame, image=image))
        if admission:
            self._offer_precompute(camera, frame.stamp_ns)
        return admission

    def count_drop(self, camera: str, cause: str) -> None:
        """Counts what never became a frame, an image that does not convert, say; raises
        UnknownCamera.
        """
        self._camera(camera).count_drop(cause)

    def note_reason(self, camera: str, reason: str) -> None:
        """Has refusals of requests about a camera say why its frames are missing or old; see
        Camera.note_reason; raises UnknownCamera.
        """
        self._camera(camera).note_reason(reason)

    def flush(self, reason: str) -> None:
        """Forgets all frames, results and conversations, after a jump of camera time; requests that
        look at a camera end with ClockJumped.
        """
        self._intake.conversations.forget_all()
        for camera in self._cameras.values():
            camera.flush('clock_jump')
        self._scheduler.end_all(
            ClockJumped('time jumped while the request was under way', reason, 'Ask again'),
            lambda job: job.key != '',
        )
        forget_results(self._answering.model)

    # --- requests ---------------------------------------------------------------------------------

    def submit(
        self,
        request: Request,
        on_answer: Callable[[Answer], None],
        on_piece: Callable[[TextPiece], None] | None = None,
    ) -> Ticket:
        """Takes a request that ends in exactly one `on_answer`; `on_piece` follows the text as it
        grows.

        Raises at once, and then calls neither: the RequestError or ImageError that says what is
        wrong with the request, Inactive, Busy, DuplicateRequest. The frames are chosen when it is
        started, with the settings of now. Images are decoded and a schema is compiled while it
        waits; one that is unusable ends the request with its ImageError or InvalidSchema.
        """
        config = self._config
        try:
            forgotten = self._intake.forget_at_once(request, config)
            if forgotten is not None:
                on_answer(forgotten)
                return Ticket(forgotten.id, '', '')
            taken = self._intake.take(request, config, self._own_model)
            job = self._job(taken, config, on_answer, on_piece)
        except PenguinError:
            with self._lock:
                self._invalid_requests += 1
            raise
        self._scheduler.submit(job)
        if taken.preparations:
            on_end = functools.partial(self._on_prepared, job)
            self._preparer.start(taken.preparations, on_end)
        complete = taken.request
        return Ticket(complete.id, complete.text, complete.camera)

    def submit_caption(self, camera: str, on_caption: Callable[[Answer], None]) -> Ticket:
        """Asks for a caption of the clip that is the newest when it is started; a waiting caption
        of the camera ends in RequestReplaced.

        Raises UnknownCamera, Inactive.
        """
        config = self._config
        camera = checked_camera(camera, tuple(self._cameras))
        request = Request(
            f'caption/{camera}/{uuid.uuid4().hex}',
            cleaned(config.caption.prompt),
            Priority.CAPTION,
            camera,
            max_tokens=config.caption.max_tokens,
            deadline_ns=round(config.caption.deadline * NANOSECONDS),
        )
        taken = TakenQuestion(request, self._cameras[camera])
        self._scheduler.submit(self._job(taken, config, on_caption, None))
        return Ticket(request.id, request.text, camera)

    def cancel(self, request_id: str) -> bool:
        """Ends a request early, with the text there is: one that waits at once, one that runs after
        its step. Returns False when there is no such request (any more).
        """
        return self._scheduler.cancel(request_id)

    def end_stuck(self) -> None:
        """Ends requests that were cancelled or are past their deadline while the model hangs in a
        step; to be called now and then. Their answers are given on the caller's thread.
        """
        self._scheduler.end_stuck(PATIENCE_NS)

    @property
    def device_loss(self) -> DeviceLost | None:
        """Why the worker has ended, when that is because its device computes nothing more for this
        process.
        """
        failure = self._scheduler.worker().failure
        return failure if isinstance(failure, DeviceLost) else None

    def status(self) -> PipelineStatus:
        """Returns a snapshot."""
        model, stats = self._answering.model, self._scheduler.stats()
        remote = self._answering.remote
        with self._lock:
            refused = stats.questions_refused + self._invalid_requests
            return PipelineStatus(
                model=self._answering.known_description(),
                cameras={name: each.buffer_status() for name, each in self._cameras.items()},
                counts=dataclasses.replace(stats, questions_refused=refused),
                worker=self._scheduler.worker(),
                callback_failures=stats.callback_failures + self._listener_failures,
                last_error=self._last_error,
                last_error_ns=self._last_error_ns,
                caches=model.caches.stats() if model is not None else CacheStats(),
                windows={name: each.window_status() for name, each in self._cameras.items()},
                backend=model.backend.stats() if model is not None else BackendStats(),
                remote=remote.status() if remote is not None else None,
            )

    # --- inside -----------------------------------------------------------------------------------

    def _job(
        self,
        taken: TakenQuestion,
        config: PenguinConfig,
        on_answer: Callable[[Answer], None],
        on_piece: Callable[[TextPiece], None] | None,
    ) -> AnswerJob | RemoteAnswerJob:
        if not self._is_answering:
            self._loaded()
        deliver = functools.partial(self._deliver, on_answer)
        return self._answering.job(taken, config, deliver, on_piece)

    def _rule_context(self, camera: Camera) -> RuleContext:
        return RuleContext(self._config, self._loaded(), camera, self._now_ns, self._steady_ns)

    def _deliver(self, on_answer: Callable[[Answer], None], answer: Answer) -> None:
        error = answer.error
        if error is not None and not isinstance(error, (RequestCancelled, RequestReplaced)):
            with self._lock:
                self._last_error = error
                self._last_error_ns = self._steady_ns()
        on_answer(answer)

    def _on_prepared(self, job: Job, error: PenguinError | None) -> None:
        """Has a request started or ended that is prepared; on the preparer's thread."""
        if error is None:
            self._scheduler.wake()
        else:
            self._scheduler.end(job, error)

    def _report(self, what: str, error: BaseException) -> None:
        with self._lock:
            self._listener_failures += 1
        self._log(what, error)

    def _offer_precompute(self, camera: Camera, stamp_ns: int) -> None:
        config, model = self._config, self._answering.model
        if not self._is_active or model is None or not self._answering.is_working_ahead(config):
            return
        if not camera.claim_precompute(stamp_ns, config):
            return
        job = PrecomputeJob(camera, config, model, self._steady_ns)
        try:
            self._scheduler.submit(job)
        except Inactive as error:
            job.abort(error)

    def _camera(self, name: str) -> Camera:
        return self._cameras[checked_camera(name, tuple(self._cameras))]

    @property
    def _is_answering(self) -> bool:
        return self._scheduler.worker().state is WorkerState.SERVING

    def _own_model(self) -> LoadedModel | None:
        return self._loaded() if needs_own_model(self._config) else None

    def _loaded(self) -> LoadedModel:
        return self._answering.loaded(self._scheduler.worker().failure, self._is_answering)


def _not_active(reason: str = '') -> Inactive:
    return Inactive('the node is not active', reason, 'Activate it')
