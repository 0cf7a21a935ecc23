# SPDX-License-Identifier: Apache-2.0
"""Hub ids to folders. The only file that knows huggingface_hub; none of a repository's code is
fetched or run.

What lies complete in the hub's cache is used without asking the network, so a robot starts the same
with and without one.

Lines of progress while a download fills a folder, from the bytes on disk. Knows nothing of who
downloads or how.
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

PERIOD_SECONDS = 1.0
UNFINISHED = '.incomplete'


class DownloadProgress:
    """Reports once a second from its own thread, between entering and leaving, how much of
    `total_bytes` is there.
    """

    def __init__(
        self, folder: Path, name: str, total_bytes: int, report: Callable[[str], None]
    ) -> None:
        self._folder, self._name, self._total, self._report = folder, name, total_bytes, report
        self._before = _bytes_in(folder) - _bytes_in(folder, UNFINISHED)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name='download progress', daemon=True)

    @property
    def missing_bytes(self) -> int:
        """Bytes still to come; what an interrupted download left behind counts as there."""
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
    """A number of bytes for people."""
    return f'{count / 1e9:.1f} GB' if count >= 1e9 else f'{count / 1e6:.1f} MB'


Progress = Callable[[str], None]

SMALL_FILES, WEIGHTS, NOT_WEIGHTS = ['*.json', '*.txt'], ['*.safetensors'], ['*/*.safetensors']
MAIN = 'main'
ANSWER_SECONDS = 10.0
"""How long the hub may take to answer."""


def is_hub_id(source: str) -> bool:
    """Whether `source` reads as `owner/name` or `owner/name@revision`."""
    return re.fullmatch(r'\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?', source, re.ASCII) is not None


def hub_name(folder: Path) -> str:
    """`owner/name` when `folder` is a snapshot in the hub's cache, else empty."""
    parts = folder.absolute().parts
    match = (
        re.fullmatch(r'models--(.+?)--(.+)', parts[-3])
        if len(parts) > 3 and parts[-2] == 'snapshots'
        else None
    )
    return f'{match[1]}/{match[2]}' if match else ''


def download_checkpoint(source: str, progress: Progress, check: Callable[[Path], object]) -> Path:
    """The folder of a hub id, from the cache when it is complete there, else downloaded.

    The configuration comes first and `check` is called with its folder: what it raises saves the
    download of the weights. An interrupted download goes on where it stopped and is not taken for a
    checkpoint. HubUnavailable says what to do.
    """
    _check_library(source)
    repository, revision = _parts(source)
    cached = _cached(repository, revision)
    if cached is not None:
        return cached
    elsewhere = (
        f'On a machine with internet type: hf download {repository} --local-dir {repository.split("/")[1]}   '
        '(older: huggingface-cli download), copy that folder here and name it instead of the hub id'
    )
    try:
        return _download(repository, revision, progress, check)
    except CheckpointError:
        raise
    except Exception as error:  # whichever HTTP library the hub's client uses raises its own
        raise _explained(source, error, elsewhere) from error


def download_file(source: str, name: str, otherwise: str) -> Path:
    """One small file of a hub repository, from the cache or downloaded; `otherwise`: what to do
    without network.
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
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise HubUnavailable(
            f'{source} cannot be downloaded',
            f'the library huggingface_hub is missing ({error})',
            'Type: pip install huggingface_hub',
        ) from error


def _parts(source: str) -> tuple[str, str]:
    repository, _, revision = source.partition('@')
    return repository, revision or MAIN


def _cached(repository: str, revision: str) -> Path | None:
    """A snapshot in the cache that holds everything that its weight index names."""
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
    repository: str, revision: str, progress: Progress, check: Callable[[Path], object]
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
    """Commit and file sizes; asked first because this call, unlike others of the library, gives up
    in time.
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
    """Notes in the cache which commit a branch stands for: only now that it is complete, so that a
    part is never taken.
    """
    if folder.name != revision:
        reference = folder.parent.parent / 'refs' / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        draft = reference.with_name(f'{reference.name}.{os.getpid()}')
        draft.write_text(folder.name)
        os.replace(draft, reference)


def _explained(source: str, error: Exception, otherwise: str) -> HubUnavailable:
    """What failed, why, and what to type, for whatever the hub's client raised."""
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    what, page = f'{source} cannot be downloaded', f'{hub}/{_parts(source)[0]}'
    if isinstance(error, errors.GatedRepoError):
        return HubUnavailable(
            what,
            f'{hub} asks to accept its terms first',
            f'Accept them at {page}, then type: hf auth login   (or set HF_TOKEN)',
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return HubUnavailable(
            what, f'{hub} has no such revision of it', 'Check the part behind the @'
        )
    status = getattr(getattr(error, 'response', None), 'status_code', 0)
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return HubUnavailable(
            what,
            f'{hub} has no such repository (or it is private), and there is no such folder here',
            'Check the spelling; for a private one type: hf auth login   (or set HF_TOKEN)',
        )
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(
        error, errors.LocalEntryNotFoundError
    ):
        return HubUnavailable(what, str(error).splitlines()[0], otherwise)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return HubUnavailable(
            what, 'it is not in the cache and HF_HUB_OFFLINE is set', f'Unset it, or: {otherwise}'
        )
    if isinstance(error, OSError) and (
        error.errno in (errno.ENOSPC, errno.EDQUOT) or error.filename is not None
    ):
        return HubUnavailable(
            what,
            f'{error.strerror} ({constants.HF_HUB_CACHE})',
            'Free space, or set HF_HOME to a folder on a disk with space',
        )
    reason = (str(error).splitlines() or [''])[0]
    return HubUnavailable(
        what,
        f'it is not in the cache, and asking {hub} failed with {type(error).__name__}: {reason}',
        f'Check the network. {otherwise}',
    )
