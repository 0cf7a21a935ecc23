# SPDX-License-Identifier: Apache-2.0
"""Entries as rows of the database, and back."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from penguin_ros.memory.catalogue import Names
from penguin_ros.memory.entry import Entry, Kind, NewEntry, Pose
from penguin_ros.text import cleaned

MAX_TEXT = 20_000
"""Characters of a text or question that are kept."""
MAX_EVIDENCE = 1 << 20
"""Bytes of JSON that are kept; more is replaced by a remark."""
ROW_BYTES = 120
"""What a row and its place in the indices take besides its texts, about."""

WORDS_OF_EVIDENCE = json.dumps(
    {
        'frames': [
            {'stamp_ns': 1700000000000000000, 'camera': 'front', 'frame_id': '', 'type': 'key'},
            {'stamp_ns': 1700000000000000000, 'camera': '', 'type': 'intermediate'},
        ],
        'age_ns': 0, 'model_name': '', 'model_digest': '', 'backend': 'onnxruntime',
        'precision': 'float32', 'visual_tokens': 0, 'prompt_tokens': 0, 'generated_tokens': 0,
        'wait_ns': 0, 'encode_ns': 0, 'prefill_ns': 0, 'decode_ns': 0,
        'first_token_latency_ns': 0, 'stop_reason': 'stop_token', 'is_truncated': False,
        'is_stale': False, 'frames_dropped': 0, 'unchanged_since_ns': 0, 'reused_tokens': 0,
        'reused_frames': 0, 'forward_passes': 0, 'drafted_tokens': 0, 'accepted_tokens': 0,
    }
).encode()  # fmt: skip
"""What evidence is compressed with: never to be changed, since what is stored needs it."""

ENTRY = (
    'SELECT e.id, e.session, e.kind, e.node, e.camera, e.start_ns, e.end_ns, c.text, c.question, '
    'c.evidence, e.frame, e.x, e.y, e.z, e.qx, e.qy, e.qz, e.qw, e.pose_ns, e.digest, '
    'e.picture_ns, e.is_pinned FROM entry e JOIN content c ON c.id = e.id WHERE e.id IN '
)
ADD_ENTRY = 'INSERT INTO entry VALUES (' + ', '.join('?' * 21) + ')'
MAX_VARIABLES = 900


def safe_text(text: str) -> str:
    """Returns a text without control characters, cut at MAX_TEXT."""
    return cleaned(text[:MAX_TEXT])


def packed(evidence: Mapping[str, Any]) -> bytes:
    """Returns evidence as compressed JSON."""
    text = json.dumps(evidence, ensure_ascii=False, separators=(',', ':'), default=str)
    content = text.encode('utf-8', 'replace')
    if len(content) > MAX_EVIDENCE:
        content = json.dumps({'left_out': f'{len(content)} bytes'}).encode()
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15, zdict=WORDS_OF_EVIDENCE)
    return compressor.compress(content) + compressor.flush()


def unpacked(content: bytes) -> dict[str, Any]:
    """Returns evidence from compressed JSON."""
    decompressor = zlib.decompressobj(-15, zdict=WORDS_OF_EVIDENCE)
    value = json.loads(decompressor.decompress(content))
    return value if isinstance(value, dict) else {}


def identity(entry: NewEntry, session: int) -> int:
    """Returns a number by which an entry that comes twice is known."""
    parts = (
        session, int(entry.kind), entry.node, entry.camera, entry.start_ns, entry.end_ns,
        entry.text, entry.question, entry.key,
    )  # fmt: skip
    digest = hashlib.blake2b('\0'.join(map(str, parts)).encode('utf-8', 'replace'), digest_size=8)
    return int.from_bytes(digest.digest(), 'little', signed=True)


def pose_values(pose: Pose | None, frame: int | None) -> tuple[Any, ...]:
    """Returns the columns of a pose: frame, position, quaternion, stamp."""
    if pose is None:
        return (None,) * 9
    position = (pose.x, pose.y, pose.z, pose.qx, pose.qy, pose.qz, pose.qw)
    return (frame, *position, pose.stamp_ns)


def read_entries(
    connection: sqlite3.Connection, names: Names, ids: Iterable[int]
) -> dict[int, Entry]:
    """Returns the entries of these ids by id; those that are not stored are left out."""
    wanted, found = list(ids), {}
    for begin in range(0, len(wanted), MAX_VARIABLES):
        some = wanted[begin : begin + MAX_VARIABLES]
        query = f'{ENTRY}({", ".join("?" * len(some))})'
        for row in connection.execute(query, some):
            found[row[0]] = _entry(row, names)
    return found


def _entry(row: tuple[Any, ...], names: Names) -> Entry:
    number, session, kind, node, camera, start_ns, end_ns, text, question, evidence = row[:10]
    frame, x, y, z, qx, qy, qz, qw, pose_ns, digest, picture_ns, is_pinned = row[10:]
    pose = None
    if frame is not None:
        pose = Pose(names.name(frame), x, y, z, qx, qy, qz, qw, pose_ns)
    return Entry(
        id=number,
        session=session,
        kind=Kind(kind),
        node=names.name(node),
        camera=names.name(camera),
        start_ns=start_ns,
        end_ns=end_ns,
        text=text,
        question=question,
        evidence=unpacked(evidence),
        pose=pose,
        digest=digest.hex() if digest else '',
        picture_ns=picture_ns or 0,
        is_pinned=bool(is_pinned),
    )
