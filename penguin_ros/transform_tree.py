# SPDX-License-Identifier: Apache-2.0
"""Where coordinate frames were at a time of the past, from the transforms that a robot publishes.

It keeps the last seconds of each transform and interpolates between them, as tf2 does, and tells
how far from a published one the answer lies. It imports no ROS and may be used by any thread.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, field

from penguin_ros.errors import PenguinError
from penguin_ros.frame import NANOSECONDS

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
"""(x, y, z, w), of length 1."""

MAX_FRAMES = 2000
MAX_SAMPLES = 20_000
MAX_NAME_CHARACTERS = 256
_SAME_PLACE: Vector = (0.0, 0.0, 0.0)
_UNTURNED: Quaternion = (0.0, 0.0, 0.0, 1.0)
_NEARLY_PARALLEL = 0.9995


class PoseUnknown(PenguinError):
    """A pose cannot be told; `cause` is one word for counts.

    'frame', 'unconnected', 'loop', 'future' (no transform as new as that yet), or 'past'.
    """

    def __init__(self, what: str, why: str = '', fix: str = '', cause: str = '') -> None:
        super().__init__(what, why, fix)
        self.cause = cause


@dataclass(frozen=True)
class Transform:
    """Where the frame `child` is in the frame `parent` at a stamp: metres and a rotation."""

    stamp_ns: int
    parent: str
    child: str
    translation: Vector = _SAME_PLACE
    rotation: Quaternion = _UNTURNED


@dataclass(frozen=True)
class FramePose:
    """A position in metres and a rotation in the coordinate frame `frame`.

    `age_ns` is how far the stamp asked for lies from the nearest published transform, the worst of
    those on the way; 0 when all of them are static. `is_beyond`: it is newer than the newest one of
    those, so that the pose may become better still.
    """

    frame: str
    position: Vector
    rotation: Quaternion
    age_ns: int = 0
    is_beyond: bool = False


@dataclass
class _Track:
    """The transforms of one child frame, ascending in time; a static one holds at all times."""

    parent: str
    is_static: bool
    stamps: list[int] = field(default_factory=list)
    samples: list[Transform] = field(default_factory=list)


class TransformTree:
    """Keeps the transforms of the last `keep_seconds` before each frame's newest one.

    At most MAX_FRAMES frames and MAX_SAMPLES transforms of each are kept, the newest. `counts` says
    what was taken and what was refused, by cause.
    """

    def __init__(self, keep_seconds: float = 30.0) -> None:
        self._keep_ns = round(keep_seconds * NANOSECONDS)
        self._lock = threading.Lock()
        self._tracks: dict[str, _Track] = {}
        self.counts: Counter[str] = Counter()

    def add(self, transform: Transform, is_static: bool = False) -> None:
        """Takes one transform; an unusable one is refused and counted.

        A transform that is older than all that is kept begins its frame anew: time has jumped.
        """
        checked = _checked(transform)
        with self._lock:
            if checked is None:
                self.counts['refused: unusable'] += 1
                return
            track = self._tracks.get(checked.child)
            if track is None and len(self._tracks) >= MAX_FRAMES:
                self.counts['refused: too many frames'] += 1
                return
            if track is None or track.parent != checked.parent or track.is_static != is_static:
                track = self._tracks[checked.child] = _Track(checked.parent, is_static)
            self.counts['static' if is_static else 'taken'] += 1
            self._insert(track, checked)

    def clear(self) -> None:
        """Forgets all transforms that are not static, since time has jumped."""
        with self._lock:
            self._tracks = {name: each for name, each in self._tracks.items() if each.is_static}

    @property
    def frames(self) -> tuple[str, ...]:
        """The names of all frames that have a parent."""
        with self._lock:
            return tuple(self._tracks)

    def pose(self, target: str, source: str, stamp_ns: int) -> FramePose:
        """Returns where `source` was in `target`; PoseUnknown where that cannot be told.

        Beyond the newest transform of a frame the newest one is taken, and `age_ns` tells.
        """
        target, source = target.lstrip('/'), source.lstrip('/')
        with self._lock:
            from_source = self._ancestors(source)
            from_target = self._ancestors(target)
            shared = next((frame for frame in from_source if frame in from_target), None)
            if shared is None:
                raise self._unconnected(target, source)
            up = self._composed(source, from_source[: from_source.index(shared)], stamp_ns)
            down = self._composed(target, from_target[: from_target.index(shared)], stamp_ns)
        rotation = _product(_inverse(down.rotation), up.rotation)
        offset = _difference(up.position, down.position)
        position = _rotated(offset, _inverse(down.rotation))
        age_ns, is_beyond = max(up.age_ns, down.age_ns), up.is_beyond or down.is_beyond
        return FramePose(target, position, rotation, age_ns, is_beyond)

    # --- under the lock ---------------------------------------------------------------------------

    def _insert(self, track: _Track, transform: Transform) -> None:
        stamp = transform.stamp_ns
        if track.is_static or (track.stamps and stamp < track.stamps[-1] - self._keep_ns):
            if not track.is_static:
                self.counts['begun anew'] += 1
            track.stamps, track.samples = [stamp], [transform]
            return
        place = bisect_right(track.stamps, stamp)
        if place and track.stamps[place - 1] == stamp:
            track.samples[place - 1] = transform
            return
        track.stamps.insert(place, stamp)
        track.samples.insert(place, transform)
        old = bisect_left(track.stamps, track.stamps[-1] - self._keep_ns)
        old = max(old, len(track.stamps) - MAX_SAMPLES)
        if old > 0:
            del track.stamps[:old], track.samples[:old]

    def _ancestors(self, name: str) -> list[str]:
        """Returns the frame, its parent, and so on to the root."""
        if name not in self._tracks and not any(
            track.parent == name for track in self._tracks.values()
        ):
            raise PoseUnknown(
                f'no transform names the coordinate frame {name!r}',
                f'known are {", ".join(sorted(self._tracks)[:10]) or "none"}',
                'Check the names of the frames, and that something publishes /tf',
                'frame',
            )
        line = [name]
        while line[-1] in self._tracks:
            parent = self._tracks[line[-1]].parent
            if parent in line:
                raise PoseUnknown('transforms run in a circle', ' > '.join(line), cause='loop')
            line.append(parent)
        return line

    def _unconnected(self, target: str, source: str) -> PoseUnknown:
        return PoseUnknown(
            f'{source!r} is not connected with {target!r}',
            f'their roots are {self._ancestors(source)[-1]!r} and {self._ancestors(target)[-1]!r}',
            'Start what publishes the transform between them, a localisation say',
            'unconnected',
        )

    def _composed(self, name: str, line: list[str], stamp_ns: int) -> FramePose:
        """Returns where `name` was in the parent of the last frame of `line`."""
        position, rotation = _SAME_PLACE, _UNTURNED
        age_ns, is_beyond = 0, False
        for frame in line:
            step, step_age_ns = self._at(frame, stamp_ns)
            is_beyond |= step_age_ns > 0 and stamp_ns > self._tracks[frame].stamps[-1]
            turned = _rotated(position, step.rotation)
            position = _sum(turned, step.translation)
            rotation = _product(step.rotation, rotation)
            age_ns = max(age_ns, step_age_ns)
        return FramePose(name, position, rotation, age_ns, is_beyond)

    def _at(self, frame: str, stamp_ns: int) -> tuple[Transform, int]:
        """Returns a frame's transform at a stamp, and how far the nearest published one lies."""
        track = self._tracks[frame]
        if track.is_static:
            return track.samples[0], 0
        place = bisect_left(track.stamps, stamp_ns)
        if place == len(track.stamps):
            return track.samples[-1], stamp_ns - track.stamps[-1]
        after = track.samples[place]
        if after.stamp_ns == stamp_ns:
            return after, 0
        if place == 0:
            gap = (after.stamp_ns - stamp_ns) / NANOSECONDS
            raise PoseUnknown(
                f'where {frame!r} was is not known any more, or not yet',
                f'its oldest transform is {gap:.3f} s younger than the stamp',
                cause='past',
            )
        before = track.samples[place - 1]
        age_ns = min(stamp_ns - before.stamp_ns, after.stamp_ns - stamp_ns)
        return _between(before, after, stamp_ns), age_ns


def _checked(transform: Transform) -> Transform | None:
    """Returns the transform with plain names and a rotation of length 1; None when it is none."""
    parent, child = transform.parent.lstrip('/'), transform.child.lstrip('/')
    length = math.sqrt(sum(part * part for part in transform.rotation))
    is_usable = (
        0 < len(parent) <= MAX_NAME_CHARACTERS
        and 0 < len(child) <= MAX_NAME_CHARACTERS
        and parent != child
        and all(map(math.isfinite, transform.translation))
        and math.isfinite(length)
        and length > 1e-6
    )
    if not is_usable:
        return None
    x, y, z, w = (part / length for part in transform.rotation)
    return Transform(transform.stamp_ns, parent, child, transform.translation, (x, y, z, w))


def _between(before: Transform, after: Transform, stamp_ns: int) -> Transform:
    share = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
    (ax, ay, az), (bx, by, bz) = before.translation, after.translation
    return Transform(
        stamp_ns,
        before.parent,
        before.child,
        (ax + share * (bx - ax), ay + share * (by - ay), az + share * (bz - az)),
        _interpolated(before.rotation, after.rotation, share),
    )


def _interpolated(first: Quaternion, second: Quaternion, share: float) -> Quaternion:
    """Returns the rotation on the shorter way between two (slerp)."""
    dot = sum(a * b for a, b in zip(first, second, strict=True))
    sign = -1.0 if dot < 0 else 1.0
    dot = min(1.0, abs(dot))
    if dot > _NEARLY_PARALLEL:
        weights = 1 - share, share * sign
    else:
        angle = math.acos(dot)
        weights = (
            math.sin((1 - share) * angle) / math.sin(angle),
            sign * math.sin(share * angle) / math.sin(angle),
        )
    mixed = [weights[0] * a + weights[1] * b for a, b in zip(first, second, strict=True)]
    length = math.sqrt(sum(part * part for part in mixed))
    x, y, z, w = (part / length for part in mixed)
    return x, y, z, w


def _product(first: Quaternion, second: Quaternion) -> Quaternion:
    ax, ay, az, aw = first
    bx, by, bz, bw = second
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _inverse(rotation: Quaternion) -> Quaternion:
    x, y, z, w = rotation
    return -x, -y, -z, w


def _rotated(vector: Vector, rotation: Quaternion) -> Vector:
    x, y, z, _ = _product(_product(rotation, (*vector, 0.0)), _inverse(rotation))
    return x, y, z


def _sum(first: Vector, second: Vector) -> Vector:
    return first[0] + second[0], first[1] + second[1], first[2] + second[2]


def _difference(first: Vector, second: Vector) -> Vector:
    return first[0] - second[0], first[1] - second[1], first[2] - second[2]
