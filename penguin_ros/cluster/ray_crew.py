# SPDX-License-Identifier: Apache-2.0
"""A crew of Ray's actors, each with an engine. One that dies is started again by Ray, where there
is room, and gets tasks again once it answers.

Every machine needs this package, the model at the same path, and the recordings at the same paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penguin_ros.cluster.crew import Outcome, Task
from penguin_ros.cluster.span_captioner import EngineLost, SpanCaptioner
from penguin_ros.cluster.spans import RecordingPlace
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import LibraryUnusable, SettingError
from penguin_ros.libraries import remedy

LOCAL = 'local'
PING_S = 1.0


def connect(address: str) -> Any:
    """Connects to the cluster at `address`, or begins one on this machine for LOCAL; returns the
    module ray. LibraryUnusable, SettingError.
    """
    try:
        import ray
    except ImportError as error:
        raise LibraryUnusable(
            'Ray is not installed here', f'importing {error.name} failed', remedy(error, 'ray')
        ) from error
    try:
        ray.init(
            address=None if address == LOCAL else address,
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level='error',
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise SettingError(
            f'no cluster answers at {address}',
            str(error),
            'Type on its first machine: ray start --head',
        ) from error
    return ray


class RayCrew:
    """`size` actors; 0: one for each GPU of the cluster, or without any for each `cpus` CPUs."""

    def __init__(
        self, ray: Any, config: PenguinConfig, has_pictures: bool, size: int = 0, cpus: float = 1.0
    ) -> None:
        self._ray = ray
        resources = ray.cluster_resources()
        gpus = int(resources.get('GPU', 0))
        self.size = size or gpus or max(1, int(resources.get('CPU', 1) // cpus))
        captioner = ray.remote(SpanCaptioner).options(
            num_cpus=cpus, num_gpus=1 if gpus else 0, max_restarts=-1, max_task_retries=0
        )
        actors = [captioner.remote(config, has_pictures) for _ in range(self.size)]
        self._actors = {actor._actor_id.hex(): actor for actor in actors}
        self._pings = {self._ping(actor): actor for actor in actors}
        self._idle: dict[str, Any] = {}
        self._tasks: dict[Any, tuple[Any, Task]] = {}

    @property
    def idle(self) -> Sequence[str]:
        """The ids of the actors that could take a task now."""
        return tuple(self._idle)

    def give(self, captioner: str, task: Task) -> None:
        """Gives a task to an idle actor."""
        actor = self._idle.pop(captioner)
        call = actor.describe if isinstance(task, RecordingPlace) else actor.caption
        self._tasks[call.remote(task)] = actor, task

    def wait(self, timeout_s: float) -> Sequence[Outcome]:
        """Returns what has ended."""
        refs = [*self._tasks, *self._pings]
        ready, _ = self._ray.wait(refs, num_returns=len(refs), timeout=timeout_s)
        outcomes = []
        for ref in ready:
            if ref in self._pings:
                self._note_ping(ref)
            else:
                outcomes.append(self._outcome(ref))
        return outcomes

    def close(self) -> None:
        """Ends all actors, and the connection."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._ray.shutdown()

    def _ping(self, actor: Any) -> Any:
        return actor.__ray_ready__.remote()

    def _note_ping(self, ref: Any) -> None:
        actor = self._pings.pop(ref)
        try:
            self._ray.get(ref)
            self._rest(actor)
        except self._ray.exceptions.RayError:
            self._pings[self._ping(actor)] = actor

    def _outcome(self, ref: Any) -> Outcome:
        actor, task = self._tasks.pop(ref)
        try:
            result = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:  # the call itself failed
            if isinstance(error.cause, EngineLost):
                self._ray.kill(actor, no_restart=False)  # only another process has an engine again
                self._pings[self._ping(actor)] = actor
                return Outcome(task, 'lost', why=str(error.cause))
            self._rest(actor)
            return Outcome(task, 'failed', why=str(error.cause or error))
        except self._ray.exceptions.RayError as error:
            self._pings[self._ping(actor)] = actor
            return Outcome(task, 'lost', why=type(error).__name__)
        self._rest(actor)
        return Outcome(task, 'done', result)

    def _rest(self, actor: Any) -> None:
        self._idle[actor._actor_id.hex()] = actor
