# SPDX-License-Identifier: Apache-2.0
"""A hub on 127.0.0.1 that answers what huggingface_hub asks when it downloads a model, with the
real one's error codes.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

CHUNK = 64 * 1024


@dataclass
class StandIn:
    """What the hub holds and how it behaves, which may change while it runs.

    `folders`: model folder by repository; `gated`: repositories that ask to accept terms;
    `stall_after`: bytes after which a weight file stops arriving, for ever; `broken_status`: the
    answer to everything; `extra_bytes`: added to the stated file sizes.
    """

    folders: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    stall_after: int | None = None
    broken_status: int = 0
    extra_bytes: int = 0
    requests: list[str] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    ending: threading.Event = field(default_factory=threading.Event)
    url: str = ''

    def commit(self, repository: str) -> str:
        """Returns a commit hash that follows from where the content is."""
        return hashlib.sha1(f'{repository} {self.folders[repository]}'.encode()).hexdigest()

    def files(self, repository: str) -> dict[str, Path]:
        """Returns the files by path in the repository."""
        folder = self.folders[repository]
        return {
            path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob('*'))
            if path.is_file()
        }


@contextmanager
def serving(hub: StandIn) -> Iterator[StandIn]:
    """Runs the hub on a free port."""

    class Request(_Request):
        stand_in = hub

    server = ThreadingHTTPServer(('127.0.0.1', 0), Request)
    server.daemon_threads = True
    thread = threading.Thread(
        target=server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True
    )
    thread.start()
    hub.url = f'http://127.0.0.1:{server.server_port}'
    try:
        yield hub
    finally:
        hub.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Request(BaseHTTPRequestHandler):
    stand_in: StandIn
    protocol_version = 'HTTP/1.1'

    def log_message(self, format: str, *arguments: object) -> None:
        self.stand_in.requests.append(f'{self.command} {self.path}')

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip('/').split('/')]
        is_api = parts[:2] == ['api', 'models']
        parts = parts[2:] if is_api else parts
        repository, rest = '/'.join(parts[:2]), parts[2:]
        if self.stand_in.broken_status:
            self._refuse(self.stand_in.broken_status, '')
        elif repository in self.stand_in.gated and not (is_api and rest[:1] == ['revision']):
            self._refuse(401, 'GatedRepo')
        elif repository not in self.stand_in.folders:
            self._refuse(404, 'RepoNotFound')
        elif rest[1:2] and rest[1] not in ('main', self.stand_in.commit(repository)):
            self._refuse(404, 'RevisionNotFound')
        elif is_api and rest[:1] == ['revision']:
            self._send_json(self._facts(repository))
        elif is_api and rest[:1] == ['tree']:
            self._send_json(
                [
                    {'type': 'file', 'path': name, **self._sizes(path)}
                    for name, path in self.stand_in.files(repository).items()
                ]
            )
        elif rest[:1] == ['resolve'] and '/'.join(rest[2:]) in self.stand_in.files(repository):
            self._send_file(repository, self.stand_in.files(repository)['/'.join(rest[2:])])
        else:
            self._refuse(404, 'EntryNotFound')

    def _facts(self, repository: str) -> dict[str, Any]:
        return {
            'id': repository,
            '_id': '0',
            'sha': self.stand_in.commit(repository),
            'private': False,
            'downloads': 0,
            'likes': 0,
            'tags': [],
            'siblings': [
                {'rfilename': name, 'size': self._sizes(path)['size']}
                for name, path in self.stand_in.files(repository).items()
            ],
        }

    def _sizes(self, path: Path) -> dict[str, Any]:
        return {
            'size': path.stat().st_size + self.stand_in.extra_bytes,
            'oid': hashlib.sha1(path.read_bytes()).hexdigest(),
        }

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header('X-Error-Code', code)
        self.send_header('Content-Length', '0')
        self.end_headers()

    def _send_json(self, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        if self.command == 'GET':
            self.wfile.write(content)

    def _send_file(self, repository: str, path: Path) -> None:
        content = path.read_bytes()
        first = int((self.headers.get('Range') or 'bytes=0-').removeprefix('bytes=').split('-')[0])
        self.send_response(206 if 'Range' in self.headers else 200)
        self.send_header('ETag', f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header('X-Repo-Commit', self.stand_in.commit(repository))
        self.send_header('Accept-Ranges', 'bytes')
        if 'Range' in self.headers:
            self.send_header('Content-Range', f'bytes {first}-{len(content) - 1}/{len(content)}')
        self.send_header('Content-Length', str(len(content) - first))
        self.end_headers()
        if self.command == 'GET':
            self._send_slowly(content[first:], path.suffix == '.safetensors')

    def _send_slowly(self, content: bytes, is_weight: bool) -> None:
        limit = self.stand_in.stall_after if is_weight else None
        try:
            self.wfile.write(content if limit is None else content[:limit])
            self.wfile.flush()
        except OSError:  # the client was stopped
            return
        if limit is not None and limit < len(content):
            self.stand_in.stalled.set()
            self.stand_in.ending.wait()
