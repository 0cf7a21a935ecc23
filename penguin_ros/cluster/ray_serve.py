# SPDX-License-Identifier: Apache-2.0
"""A served engine as an application of Ray Serve: a gateway, and replicas of the engine behind it.

The application lives in the cluster, not in the process that deployed it. Deploying again with
another bundle replaces replica after replica: each is gone when a new one is there and its last
answer is complete.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from penguin_ros.cluster.ray_crew import connect
from penguin_ros.cluster.replica import Asked, EngineReplica, Gateway, Part
from penguin_ros.config import PenguinConfig
from penguin_ros.serving.chat_service import ServiceLimits
from penguin_ros.serving.keys import ApiKeys

APPLICATION = 'penguin'
ROUTER = 'penguin_ros.cluster.session_router.SessionRouter'
WAITING = 2
"""A replica may have so many requests for each that its engine lets wait."""


@dataclass(frozen=True)
class Deployment:
    """How an application is deployed. `replicas`: 0 for as many as the load needs, up to `most`;
    `gpus` and `cpus` are what each replica takes; `drain_s`: how long a replica that is replaced
    may take over its last answers.
    """

    host: str = '127.0.0.1'
    port: int = 8360
    replicas: int = 1
    most: int = 8
    gpus: float = 0.0
    cpus: float = 1.0
    drain_s: float = 60.0


def deploy(
    address: str,
    config: PenguinConfig,
    limits: ServiceLimits,
    keys: ApiKeys,
    model_name: str = '',
    deployment: Deployment = Deployment(),
) -> None:
    """Deploys, or replaces, the application and waits until it answers. LibraryUnusable,
    SettingError.
    """
    connect(address)
    from ray import serve

    serve.start(http_options={'host': deployment.host, 'port': deployment.port})
    engine = serve.deployment(EngineReplica).options(**_engine_options(limits, deployment))
    gateway = serve.deployment(_Ingress).options(
        name='gateway',
        max_ongoing_requests=limits.in_flight * deployment.most * WAITING,
        ray_actor_options={'num_cpus': 0.1},
    )
    replicas = engine.bind(config, limits, model_name)
    serve.run(gateway.bind(replicas, keys, limits), name=APPLICATION, route_prefix='/')


def remove(address: str) -> None:
    """Takes the application out of the cluster."""
    connect(address)
    from ray import serve

    serve.delete(APPLICATION)


def _engine_options(limits: ServiceLimits, deployment: Deployment) -> dict[str, Any]:
    scaling: dict[str, Any] = {'num_replicas': deployment.replicas}
    if not deployment.replicas:
        scaling = {
            'autoscaling_config': {
                'min_replicas': 1,
                'max_replicas': deployment.most,
                'target_ongoing_requests': max(1, limits.in_flight // 8),
            }
        }
    return {
        'name': 'engine',
        'max_ongoing_requests': limits.in_flight,
        'graceful_shutdown_timeout_s': deployment.drain_s,
        'health_check_period_s': 5,
        'health_check_timeout_s': 15,
        'ray_actor_options': {'num_cpus': deployment.cpus, 'num_gpus': deployment.gpus},
        'request_router_config': {'request_router_class': ROUTER},
        **scaling,
    }


class _Ingress:
    """The gateway as Ray Serve calls it."""

    def __init__(self, replicas: Any, keys: ApiKeys, limits: ServiceLimits) -> None:
        from ray.exceptions import RayError, TaskCancelledError
        from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

        self._replicas = replicas
        self._cancelled = TaskCancelledError
        lost = (RayError, DeploymentUnavailableError, BackPressureError)
        self._gateway = Gateway(keys, limits, self._call, self._models, lost)

    async def __call__(self, request: Any) -> Any:
        from starlette.responses import Response, StreamingResponse

        asked = Asked(
            request.method,
            request.url.path,
            {name.lower(): value for name, value in request.headers.items()},
            await request.body(),
        )
        reply = await self._gateway.reply(asked)
        headers = dict(reply.headers)
        if reply.stream is not None:
            headers['Cache-Control'] = 'no-store'
            return StreamingResponse(
                reply.stream, reply.status, headers, 'text/event-stream; charset=utf-8'
            )
        return Response(reply.body, reply.status, headers, 'application/json')

    async def _call(self, body: bytes, client: str, session: str) -> AsyncIterator[Part]:
        handle = self._replicas.options(stream=True, multiplexed_model_id=session)
        async for part in handle.answer.remote(body, client, session):
            yield part

    async def _models(self) -> Any:
        return await self._replicas.models.remote()
