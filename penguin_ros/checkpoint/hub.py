# SPDX-License-Identifier: Apache-2.0
"""Turns hub ids into folders; the only file that imports huggingface_hub.

None of a repository's code is fetched or run. What is complete in the hub's cache is used without
asking the network, so a robot starts the same way with and without one. While a download fills a
folder, a thread of its own reports the progress from the bytes on disk.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from penguin_ros.checkpoint.json_file import is_file
from penguin_ros.checkpoint.weight_files import find_weight_files
from penguin_ros.errors import CheckpointError, CheckpointNotFound, HubUnavailable
from penguin_ros.libraries import remedy
from penguin_ros.user_cache import can_be_made, home_folder, user_cache

ProgressCallback = Callable[[str], None]
"""Is called with a line of text."""

PERIOD_SECONDS = 1.0
UNFINISHED = '.incomplete'
SMALL_FILES = ['*.json', '*.txt']
WEIGHTS = ['*.safetensors']
NOT_WEIGHTS = ['*/*.safetensors']
MAIN = 'main'
CACHE_VARIABLES = ('HF_HOME', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'XDG_CACHE_HOME')
ANSWER_SECONDS = 10.0
"""How long the hub may take to answer."""


class DownloadProgress:
    """Reports once a second, from its own thread, how much of `total_bytes` is there, between
    entering and leaving.
    """

    def __init__(self, folder: Path, name: str, total_bytes: int, report: ProgressCallback) -> None:
        self._folder = folder
        self._name = name
        self._total = total_bytes
        self._report = report
        self._before = _bytes_in(folder) - _bytes_in(folder, UNFINISHED)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name='download progress', daemon=True)

    @property
    def missing_bytes(self) -> int:
        """Bytes still to come; what an interrupted download left behind counts as downloaded."""
        return max(0, self._total - self._done())

    def __enter__(self) -> DownloadProgress:
        self._report(f'downloading {self._name}: {megabytes(self.missing_bytes)} to go')
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()
        if kind is None:
            self._report(f'downloaded {self._name}')

    def _run(self) -> None:
        while not self._is_over.wait(PERIOD_SECONDS):
            self._report(
                f'downloading {self._name}: {megabytes(self._done())} of {megabytes(self._total)}'
            )

    def _done(self) -> int:
        return min(self._total, max(0, _bytes_in(self._folder) - self._before))


def _bytes_in(folder: Path, suffix: str = '') -> int:
    total = 0
    for path in folder.glob(f'*{suffix}'):
        try:
            total += path.stat().st_size
        except OSError:  # renamed in the meantime
            continue
    return total


def megabytes(count: int) -> str:
    """Formats a number of bytes for people."""
    return f'{count / 1e9:.1f} GB' if count >= 1e9 else f'{count / 1e6:.1f} MB'


def is_hub_id(source: str) -> bool:
    """Returns whether `source` reads as `owner/name` or `owner/name@revision`."""
    return re.fullmatch(r'\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?', source, re.ASCII) is not None


def hub_name(folder: Path) -> str:
    """Returns `owner/name` when `folder` is a snapshot in the hub's cache, else an empty text."""
    parts = folder.absolute().parts
    match = (
        re.fullmatch(r'models--(.+?)--(.+)', parts[-3])
        if len(parts) > 3 and parts[-2] == 'snapshots'
        else None
    )
    return f'{match[1]}/{match[2]}' if match else ''


def download_checkpoint(
    source: str, progress: ProgressCallback, check: Callable[[Path], object]
) -> Path:
    """Returns the folder of a hub id: from the cache when it is complete there, or else downloaded.

    The configuration comes first and `check` is called with its folder; what it raises saves the
    download of the weights. An interrupted download continues where it stopped and is not taken for
    a checkpoint. HubUnavailable says what to do.
    """
    _check_library(source)
    repository, revision = _parts(source)
    cached = _cached(repository, revision)
    if cached is not None:
        return cached
    elsewhere = (
        f'On a machine with internet type: hf download {repository} '
        f'--local-dir {repository.split("/")[1]}   (older: huggingface-cli download), '
        'copy that folder here and name it instead of the hub id'
    )
    try:
        return _download(repository, revision, progress, check)
    except CheckpointError:
        raise
    except Exception as error:  # whichever HTTP library the hub's client uses raises its own
        raise _explained(source, error, elsewhere) from error


def download_file(source: str, name: str, otherwise: str) -> Path:
    """Returns one small file of a hub repository, from the cache or downloaded; `otherwise` says in
    the error what to do without a network.
    """
    _check_library(source)
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    repository, revision = _parts(source)
    cached = try_to_load_from_cache(repository, name, revision=revision)
    if isinstance(cached, str):
        return Path(cached)
    try:
        _repository_facts(repository, revision)
        return Path(
            hf_hub_download(repository, name, revision=revision, etag_timeout=ANSWER_SECONDS)
        )
    except Exception as error:
        raise _explained(source, error, otherwise) from error


def _check_library(source: str) -> None:
    _place_cache()
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise HubUnavailable(
            f'{source} cannot be downloaded',
            f'the library huggingface_hub is missing ({error})',
            remedy(error, 'huggingface_hub'),
        ) from error


def _place_cache() -> None:
    """Names a folder for the hub's library where it would take one that this user may not write, or
    one called ~ below the current folder. The library reads the variable when it is imported.
    """
    home = home_folder()
    usual = home / '.cache' / 'huggingface' if home else None
    is_named = any(os.environ.get(name) for name in CACHE_VARIABLES)
    if is_named or (usual is not None and (usual.is_dir() or can_be_made(usual))):
        return
    os.environ['HF_HOME'] = str(user_cache('huggingface'))


def _parts(source: str) -> tuple[str, str]:
    repository, _, revision = source.partition('@')
    return repository, revision or MAIN


def _cached(repository: str, revision: str) -> Path | None:
    """Returns a snapshot in the cache that holds everything that its weight index names."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                repository,
                revision=revision,
                local_files_only=True,
                allow_patterns=SMALL_FILES + WEIGHTS,
                ignore_patterns=NOT_WEIGHTS,
            )
        )
        find_weight_files(folder)
    except (OSError, ValueError, CheckpointNotFound):  # absent or incomplete
        return None
    return folder if is_file(folder / 'config.json') else None


def _download(
    repository: str, revision: str, progress: ProgressCallback, check: Callable[[Path], object]
) -> Path:
    progress(f'asking the hub for {repository}')
    facts = _repository_facts(repository, revision)
    folder = _snapshot(repository, facts.sha, SMALL_FILES)
    check(folder)
    sizes = {file.rfilename: file.size or 0 for file in facts.siblings or ()}
    weights = [
        size
        for name, size in sizes.items()
        if '/' not in name and name.endswith('.safetensors') and not is_file(folder / name)
    ]
    with DownloadProgress(
        folder.parent.parent / 'blobs', repository, sum(weights), progress
    ) as watch:
        free = shutil.disk_usage(folder).free
        if watch.missing_bytes > free:
            raise OSError(
                errno.ENOSPC,
                f'{megabytes(watch.missing_bytes)} are needed, {megabytes(free)} are free',
                str(folder),
            )
        folder = _snapshot(repository, facts.sha, WEIGHTS)
    _remember(folder, revision)
    return folder


def _repository_facts(repository: str, revision: str) -> Any:
    """Returns the commit and the file sizes. They are asked for first because this call, unlike
    others of the library, times out.
    """
    from huggingface_hub import HfApi

    return HfApi().model_info(
        repository, revision=revision, files_metadata=True, timeout=ANSWER_SECONDS
    )


def _snapshot(repository: str, commit: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    bars: Any = importlib.import_module(
        'huggingface_hub.utils'
    )  # its type hints do not export these functions
    had_bars = not bars.are_progress_bars_disabled()
    bars.disable_progress_bars()  # our own lines of progress replace them
    try:
        return Path(
            snapshot_download(
                repository,
                revision=commit,
                allow_patterns=patterns,
                ignore_patterns=NOT_WEIGHTS,
                etag_timeout=ANSWER_SECONDS,
            )
        )
    finally:
        if had_bars:
            bars.enable_progress_bars()


def _remember(folder: Path, revision: str) -> None:
    """Notes in the cache which commit a branch stands for, only now that the snapshot is complete,
    so that a part is never taken for it.
    """
    if folder.name != revision:
        reference = folder.parent.parent / 'refs' / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        draft = reference.with_name(f'{reference.name}.{os.getpid()}')
        draft.write_text(folder.name)
        os.replace(draft, reference)


def _explained(source: str, error: Exception, otherwise: str) -> HubUnavailable:
    """Says what failed, why, and what to type, for whatever the hub's client raised."""
    why, fix = _refusal(source, error) or _failure(error, otherwise)
    return HubUnavailable(f'{source} cannot be downloaded', why, fix)


def _refusal(source: str, error: Exception) -> tuple[str, str] | None:
    """Returns why the hub refused and what to do; None when it did not refuse."""
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    if isinstance(error, errors.GatedRepoError):
        return (
            f'{hub} asks to accept its terms first',
            f'Accept them at {hub}/{_parts(source)[0]}, '
            'then type: hf auth login   (or set HF_TOKEN)',
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f'{hub} has no such revision of it', 'Check the part behind the @'
    status = getattr(getattr(error, 'response', None), 'status_code', 0)
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return (
            f'{hub} has no such repository (or it is private), and there is no such folder here',
            'Check the spelling; for a private one type: hf auth login   (or set HF_TOKEN)',
        )
    return None


def _failure(error: Exception, otherwise: str) -> tuple[str, str]:
    """Returns why nothing arrived and what to do."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.EntryNotFoundError) and not isinstance(
        error, errors.LocalEntryNotFoundError
    ):
        return str(error).splitlines()[0], otherwise
    if isinstance(error, errors.OfflineModeIsEnabled):
        return 'it is not in the cache and HF_HUB_OFFLINE is set', f'Unset it, or: {otherwise}'
    if isinstance(error, OSError) and (
        error.errno in (errno.ENOSPC, errno.EDQUOT) or error.filename is not None
    ):
        return (
            f'{error.strerror} ({constants.HF_HUB_CACHE})',
            'Free space, or set HF_HOME to a folder on a disk with space',
        )
    reason = (str(error).splitlines() or [''])[0]
    return (
        f'it is not in the cache, and asking {constants.ENDPOINT} failed with '
        f'{type(error).__name__}: {reason}',
        f'Check the network. {otherwise}',
    )
