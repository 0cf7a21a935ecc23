# SPDX-License-Identifier: Apache-2.0
"""A served engine as an application of Ray Serve: a gateway, and replicas of the engine behind it.

The application lives in the cluster, not in the process that deployed it. Deploying again with
another bundle replaces replica after replica: each is gone when a new one is there and its last
answer is complete.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penguin_ros.cluster.ray_crew import connect
from penguin_ros.cluster.replica import Asked, EngineReplica, Entrance, Gateway, Part
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import SettingError
from penguin_ros.http_site.secrets import tls_of
from penguin_ros.http_site.site import site_of
from penguin_ros.serving.chat_service import ServiceLimits
from penguin_ros.serving.keys import ApiKeys

APPLICATION = 'penguin'
ROUTER = 'penguin_ros.cluster.session_router.SessionRouter'
TLS_OPTIONS = ('ssl_certfile', 'ssl_keyfile')
MARGIN_S = 5.0
"""So much longer than a replica has for an answer the gateway waits for it."""

AT_THE_DOOR = 100
"""Requests that the gateway has beside those that run or wait for a replica: their bodies are on
their way, or they are being refused. As many again wait for it; Serve drops more by 503.
"""


@dataclass(frozen=True)
class Deployment:
    """How an application is deployed. `names`: others than its address, by which browsers may call
    it. `replicas`: 0 for as many as the load needs, up to `most`; it has to last `grow_s` until one
    is added, and to be gone `shrink_s` until one is taken away. `gpus` and `cpus` are what each
    replica takes; `drain_s`: how long a replica that goes may take over its last answers.
    """

    host: str = '127.0.0.1'
    port: int = 8360
    names: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    replicas: int = 1
    most: int = 8
    grow_s: float = 30.0
    shrink_s: float = 300.0
    gpus: float = 0.0
    cpus: float = 1.0
    drain_s: float = 60.0

    @property
    def url(self) -> str:
        """Where clients find it."""
        scheme = 'http' if self.certificate is None else 'https'
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{scheme}://{host}:{self.port}/v1'

    def http_options(self) -> dict[str, Any]:
        """Returns what Serve's server of HTTP listens with."""
        options: dict[str, Any] = {'host': self.host, 'port': self.port}
        if self.certificate is not None and self.key is not None:
            options['ssl_keyfile'] = str(self.key.resolve())
            options['ssl_certfile'] = str(self.certificate.resolve())
        return options


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
    is_tls = tls_of(deployment.certificate, deployment.key) is not None
    site = site_of(deployment.host, deployment.port, deployment.names, is_tls=is_tls)
    connect(address)
    from ray import serve

    serve.start(http_options=deployment.http_options())
    _check_listening(deployment)
    engine = serve.deployment(EngineReplica).options(**_engine_options(limits, deployment))
    engines = deployment.replicas or deployment.most
    gateway = serve.deployment(_Ingress).options(
        name='gateway',
        max_ongoing_requests=limits.in_flight * (engines + 1) + AT_THE_DOOR,
        max_queued_requests=AT_THE_DOOR,
        ray_actor_options={'num_cpus': 0.1},
    )
    replicas = engine.bind(config, limits, model_name)
    entrance = Entrance(keys, site, limits, config.question.deadline + MARGIN_S)
    serve.run(gateway.bind(replicas, entrance), name=APPLICATION, route_prefix='/')


def remove(address: str) -> None:
    """Takes the application out of the cluster, and Serve with it where nothing else uses it."""
    connect(address)
    from ray import serve

    serve.delete(APPLICATION)
    if not serve.status().applications:
        serve.shutdown()


def _check_listening(deployment: Deployment) -> None:
    """Raises SettingError where Serve listens elsewhere: it keeps the address and the certificate
    that it began with, and would say so in its log only.
    """
    from ray.serve.context import _get_global_client

    serving = _get_global_client().http_config
    wanted = deployment.http_options()
    given = {name: getattr(serving, name, None) for name in ('host', 'port', *TLS_OPTIONS)}
    if given == {name: wanted.get(name) for name in given}:
        return
    scheme = 'https' if given['ssl_certfile'] else 'http'
    raise SettingError(
        f'Serve of this cluster does not listen at {deployment.url} with these files',
        f'it began with {scheme}://{given["host"]}:{given["port"]}, and keeps that while it runs',
        'Give that address and its files, or type first: penguin serve --ray ADDRESS --remove',
    )


def _engine_options(limits: ServiceLimits, deployment: Deployment) -> dict[str, Any]:
    scaling: dict[str, Any] = {'num_replicas': deployment.replicas}
    if not deployment.replicas:
        scaling = {
            'autoscaling_config': {
                'min_replicas': 1,
                'max_replicas': deployment.most,
                'target_ongoing_requests': max(1, limits.in_flight // 8),
                'upscale_delay_s': deployment.grow_s,
                'downscale_delay_s': deployment.shrink_s,
                'look_back_period_s': min(30.0, max(2.0, deployment.grow_s)),
            }
        }
    return {
        'name': 'engine',
        'max_ongoing_requests': limits.in_flight,
        'max_queued_requests': limits.in_flight,
        'graceful_shutdown_timeout_s': deployment.drain_s,
        'health_check_period_s': 5,
        'health_check_timeout_s': 15,
        'ray_actor_options': {'num_cpus': deployment.cpus, 'num_gpus': deployment.gpus},
        'request_router_config': {'request_router_class': ROUTER},
        **scaling,
    }


class _Ingress:
    """The gateway as Ray Serve calls it."""

    def __init__(self, replicas: Any, entrance: Entrance) -> None:
        from ray.exceptions import RayError
        from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

        self._replicas = replicas
        lost = (RayError, DeploymentUnavailableError)
        self._gateway = Gateway(entrance, self._call, self._models, lost, BackPressureError)

    async def __call__(self, request: Any) -> Any:
        from starlette.responses import Response, StreamingResponse

        asked = Asked(
            request.method,
            request.url.path,
            {name.lower(): value for name, value in request.headers.items()},
            request.stream(),
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
