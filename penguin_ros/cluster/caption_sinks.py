# SPDX-License-Identifier: Apache-2.0
"""Where captions of recordings go, each once: a memory, a file of JSON lines, a Parquet file.

A sink knows what it holds, so that what was written is not asked for again after an interruption.
Only one process writes to it.
"""

from __future__ import annotations

import bisect
import json
import os
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from penguin_ros.cluster.spans import ClipCaption, RecordingPlace
from penguin_ros.errors import LibraryUnusable, SettingError, system_refusal
from penguin_ros.evaluation.recording_index import Done, Source, session_for, spans_within
from penguin_ros.libraries import remedy
from penguin_ros.memory.entry import Kind, NewEntry
from penguin_ros.memory.store import Store

JOURNAL = '.journal.jsonl'


class CaptionSink(ABC):
    """Takes captions; what it has taken is on the disk after `flush`."""

    def __enter__(self) -> CaptionSink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(is_whole=kind is None)

    @abstractmethod
    def covers(self, place: RecordingPlace, origin_ns: int, moment_ns: int) -> bool:
        """Tells whether a caption of the recording covers a moment."""

    @abstractmethod
    def within(
        self, place: RecordingPlace, origin_ns: int, begin_ns: int, end_ns: int
    ) -> tuple[tuple[int, int], ...]:
        """Returns from when to when captions of the recording are that may have a part there."""

    @abstractmethod
    def add(self, place: RecordingPlace, origin_ns: int, caption: ClipCaption) -> None:
        """Takes a caption that is not there yet."""

    @abstractmethod
    def flush(self) -> None:
        """Brings everything to the disk."""

    @abstractmethod
    def close(self, is_whole: bool) -> None:
        """Ends it; `is_whole`: nothing more will come of these recordings."""


class StoreSink(CaptionSink):
    """A memory."""

    def __init__(self, store: Store, has_pictures: bool) -> None:
        self._store = store
        self._has_pictures = has_pictures
        self._sessions: dict[RecordingPlace, int] = {}
        self._done: dict[RecordingPlace, Done] = {}

    def covers(self, place: RecordingPlace, origin_ns: int, moment_ns: int) -> bool:
        return self._known(place, origin_ns).covers(moment_ns)

    def within(
        self, place: RecordingPlace, origin_ns: int, begin_ns: int, end_ns: int
    ) -> tuple[tuple[int, int], ...]:
        """Implements CaptionSink."""
        return self._known(place, origin_ns).within(begin_ns, end_ns)

    def add(self, place: RecordingPlace, origin_ns: int, caption: ClipCaption) -> None:
        moment_ns = (caption.begin_ns + caption.end_ns) // 2
        if self.covers(place, origin_ns, moment_ns):
            return
        entry = NewEntry(
            Kind.CAPTION,
            place.name,
            place.topic,
            caption.begin_ns,
            caption.end_ns,
            caption.text,
            '',
            caption.evidence,
            picture=caption.picture,
            picture_ns=caption.picture_ns,
        )
        self._store.add(entry, is_patient=True, session=self._sessions[place])
        self._done[place].note(caption.begin_ns, caption.end_ns)

    def flush(self) -> None:
        self._store.flush()

    def close(self, is_whole: bool) -> None:
        self._store.close()

    def _known(self, place: RecordingPlace, origin_ns: int) -> Done:
        if place not in self._done:
            source = Source(place.name, place.topic, self._has_pictures)
            self._sessions[place] = session_for(self._store, place.name, origin_ns)
            self._done[place] = Done(self._store, source, self._sessions[place])
        return self._done[place]


class LinesSink(CaptionSink):
    """A file with one JSON object a line. Lines of an interrupted run are kept, a torn one at the
    end is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._spans: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        try:
            self._file: BinaryIO = path.open('a+b')
            self._read()
        except OSError as error:
            raise system_refusal(error, f'{path} cannot be written') from error

    def covers(self, place: RecordingPlace, origin_ns: int, moment_ns: int) -> bool:
        spans = self._spans[place.name, place.topic]
        index = bisect.bisect_right(spans, (moment_ns, 2**63)) - 1
        return index >= 0 and spans[index][1] >= moment_ns

    def within(
        self, place: RecordingPlace, origin_ns: int, begin_ns: int, end_ns: int
    ) -> tuple[tuple[int, int], ...]:
        """Implements CaptionSink."""
        return spans_within(self._spans[place.name, place.topic], begin_ns, end_ns)

    def add(self, place: RecordingPlace, origin_ns: int, caption: ClipCaption) -> None:
        if self.covers(place, origin_ns, (caption.begin_ns + caption.end_ns) // 2):
            return
        line = {
            'recording': place.name,
            'topic': place.topic,
            'begin_ns': caption.begin_ns,
            'end_ns': caption.end_ns,
            'text': caption.text,
            'evidence': caption.evidence,
        }
        self._file.write(json.dumps(line, ensure_ascii=False).encode() + b'\n')
        self._note(line)

    def flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self, is_whole: bool) -> None:
        self.flush()
        self._file.close()

    def lines(self) -> list[dict[str, Any]]:
        """Returns everything that is written, in order of recording and time."""
        with self.path.open('rb') as file:
            lines = [json.loads(line) for line in file]
        return sorted(lines, key=lambda each: (each['recording'], each['topic'], each['begin_ns']))

    def _read(self) -> None:
        self._file.seek(0)
        end = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b'\n'):
                break
            try:
                self._note(json.loads(line))
            except (ValueError, KeyError, TypeError):
                raise SettingError(
                    f'line {number} of {self.path} is no caption',
                    'the file is of something else, or damaged',
                    'Give another file with --out',
                ) from None
            end += len(line)
        self._file.truncate(end)

    def _note(self, line: dict[str, Any]) -> None:
        span = int(line['begin_ns']), int(line['end_ns'])
        bisect.insort(self._spans[line['recording'], line['topic']], span)


class ParquetSink(LinesSink):
    """A Parquet file, which appears whole at the end; until then a journal of JSON lines lies
    beside it, from which an interrupted run goes on.
    """

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise LibraryUnusable(
                'Parquet files cannot be written here',
                f'importing {error.name} failed',
                remedy(error, 'pyarrow'),
            ) from error
        self._target = path
        super().__init__(path.with_name(path.name + JOURNAL))
        if path.exists():
            self._take_over()

    def close(self, is_whole: bool) -> None:
        super().close(is_whole)
        if not is_whole:
            return
        import pyarrow
        import pyarrow.parquet

        rows = [
            {**line, 'evidence': json.dumps(line['evidence'], ensure_ascii=False)}
            for line in self.lines()
        ]
        temporary = self._target.with_name(self._target.name + '.part')
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=_schema()), temporary)
        os.replace(temporary, self._target)
        with suppress(OSError):
            self.path.unlink()

    def _take_over(self) -> None:
        """Has the journal hold what an earlier run has finished, also where taking that over was
        interrupted.
        """
        import pyarrow.parquet

        for row in pyarrow.parquet.read_table(self._target).to_pylist():
            span = row['begin_ns'], row['end_ns']
            if span in self._spans[row['recording'], row['topic']]:
                continue
            line = {**row, 'evidence': json.loads(row['evidence'])}
            self._file.write(json.dumps(line, ensure_ascii=False).encode() + b'\n')
            self._note(line)


def _schema() -> Any:
    import pyarrow

    text, stamp = pyarrow.string(), pyarrow.int64()
    names: Sequence[tuple[str, Any]] = (
        ('recording', text),
        ('topic', text),
        ('begin_ns', stamp),
        ('end_ns', stamp),
        ('text', text),
        ('evidence', text),
    )
    return pyarrow.schema(names)


def file_sink(path: Path) -> CaptionSink:
    """Returns the sink for a file by how its name ends: .jsonl or .parquet; SettingError."""
    kinds = {'.jsonl': LinesSink, '.parquet': ParquetSink}
    if path.suffix not in kinds:
        raise SettingError(f'--out {path}', 'its name must end in .jsonl or .parquet')
    return kinds[path.suffix](path)
