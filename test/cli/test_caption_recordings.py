# SPDX-License-Identifier: Apache-2.0
"""`penguin caption` over recordings of any kind: it ends with 0 only when images were seen to the
end, what is left out is counted with its reason, and nothing is destroyed by a run that fails.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.bag_pictures import START, TENTH, steady, write_pictures
from support.captioned import EVERY_FRAME, Captioned, caption_with_stand_in
from support.videos import damage, write_film, write_matroska

from penguin_ros.cli import exit_codes, main

pytest.importorskip('rosbags')

SECOND = 10**9
ENCODINGS = ('rgb8', 'rgb8', 'bgr8', '8UC3', 'x')
CLOCKS = ('steady', 'zero first', 'set back', 'one ahead', 'constant', 'two cameras', 'unset')
FEW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def stamps_of(clock: str, count: int) -> list[int]:
    """The stamps of a camera at 10 Hz whose clock has a fault."""
    stamps = steady(count)
    half = count // 2
    if clock == 'zero first':
        return [stamp - START for stamp in stamps]
    if clock == 'set back':
        return [stamp - (10 * SECOND if at >= half else 0) for at, stamp in enumerate(stamps)]
    if clock == 'one ahead':
        return [stamp + (3600 * SECOND if at == half else 0) for at, stamp in enumerate(stamps)]
    if clock == 'two cameras':
        return [stamp - at % 2 * 100 * SECOND for at, stamp in enumerate(stamps)]
    return {'constant': [START] * count, 'unset': [0] * count}.get(clock, stamps)


def is_as_said(done: Captioned, count: int, last_ns: int) -> bool:
    """Whether the exit code is the one that the documentation tells."""
    used, left_out = len(done.frames), count - len(done.frames)
    is_near = bool(done.frames) and last_ns - done.times[-1] <= SECOND
    is_good = is_near and used > left_out and 'cut off' not in done.err
    return (done.code == exit_codes.DONE) == is_good


@FEW
@given(
    count=st.integers(0, 30),
    storage=st.sampled_from(('mcap', 'sqlite3')),
    compression=st.sampled_from(('', 'file', 'message')),
    clock=st.sampled_from(CLOCKS),
    damaged=st.sets(st.integers(0, 29), max_size=6),
    encodings=st.lists(
        st.sampled_from(('rgb8', 'rgb8', 'bgr8', '8UC3', 'x')), min_size=1, max_size=4
    ),
    has_metadata=st.booleans(),
    has_other=st.booleans(),
)
def test_images_in_a_bag_are_captioned_or_left_out_by_cause(
    count: int,
    storage: str,
    compression: str,
    clock: str,
    damaged: Iterable[int],
    encodings: list[str],
    has_metadata: bool,
    has_other: bool,
) -> None:
    other = [('/thing', 'my_msgs/msg/Thing', '@weird[ 3 = \n', START)] if has_other else []
    with tempfile.TemporaryDirectory() as folder:
        bag = write_pictures(
            Path(folder) / 'bag',
            stamps_of(clock, count),
            storage=storage,
            compression=compression,
            damaged=damaged,
            encodings=encodings,
            before=other,
        )
        if not has_metadata:
            (bag / 'metadata.yaml').unlink()
        done = caption_with_stand_in(bag)
    good = [
        at
        for at in range(count)
        if at not in damaged and encodings[at % len(encodings)] in 'rgb8bgr8'
    ]
    assert done.greys == good
    assert done.times == sorted(set(done.times))
    if good:
        assert len(good) + sum(done.left_out.values()) == count
        assert done.left_out.get('message', 0) == len([at for at in damaged if at < count])
        last_ns = done.times[-1] + (count - 1 - good[-1]) * TENTH
        assert is_as_said(done, count, last_ns)
    elif count:
        assert done.none_used == count and done.code == exit_codes.UNUSABLE
    else:
        assert 'is empty' in done.err and done.code == exit_codes.UNUSABLE


@FEW
@given(
    count=st.integers(2, 300),
    compression=st.sampled_from(('', 'storage')),
    share=st.floats(0.02, 0.999),
)
def test_a_bag_that_was_cut_off_is_never_taken_for_a_whole_one(
    count: int, compression: str, share: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bag = write_pictures(Path(folder) / 'bag', steady(count), compression=compression)
        data = (bag / 'bag.mcap').read_bytes()
        (bag / 'bag.mcap').write_bytes(data[: int(len(data) * share)])
        with_metadata = caption_with_stand_in(bag)
        (bag / 'metadata.yaml').unlink()
        alone = caption_with_stand_in(bag)
    for done in (with_metadata, alone):
        assert done.code != exit_codes.DONE and done.err
        assert done.greys == [at % 256 for at in range(len(done.frames))]
    if with_metadata.frames and len(with_metadata.frames) < count:
        assert len(with_metadata.frames) + with_metadata.left_out['missing'] == count


@FEW
@given(
    count=st.integers(5, 60),
    parts=st.lists(st.tuples(st.floats(0.05, 0.9), st.floats(0.0, 0.2)), max_size=2),
)
def test_images_in_a_damaged_video_are_captioned_or_left_out(
    count: int, parts: list[tuple[float, float]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        film = write_film(Path(folder) / 'film.mp4', count)
        pixels = film.read_bytes().index(b'moov') / film.stat().st_size  # the index lies behind
        for start, length in parts:
            damage(film, start * pixels, min(0.99, start + length) * pixels)
        done = caption_with_stand_in(film)
    if done.frames:
        assert len(done.frames) + sum(done.left_out.values()) == count
        assert is_as_said(done, count, (count - 1) * TENTH)
        assert all(time_ns % TENTH == 0 for time_ns in done.times)
    else:
        assert done.code == exit_codes.UNUSABLE and 'cannot read' in done.err


@FEW
@given(count=st.integers(2, 40), share=st.floats(0.3, 0.99), first_ms=st.integers(0, 9000))
def test_a_video_that_was_cut_off_is_never_taken_for_a_whole_one(
    count: int, share: float, first_ms: int
) -> None:
    times = [first_ms + 100 * at for at in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        film = write_matroska(Path(folder) / 'film.mkv', times, [0, 20, 40])
        data = film.read_bytes()
        film.write_bytes(data[: int(len(data) * share)])
        done = caption_with_stand_in(film)
    assert done.code != exit_codes.DONE and done.err
    expected = [time_ms * SECOND // 1000 for time_ms in times]
    assert done.times == expected[: len(done.times)]
    assert bool(done.frames) == ('cut off' in done.err)


@pytest.mark.parametrize(
    'words',
    [
        ('--start', 'nan'), ('--end', 'nan'), ('--start', '-1'), ('--start', 'inf'),
        ('--clip-seconds', 'nan'), ('--fps', 'inf'), ('--fps', '-2'), ('--set', 'clip.fps=nan'),
    ],
)  # fmt: skip
def test_a_number_that_is_none_is_wrong_usage(
    words: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = write_film(tmp_path / 'film.mp4', 5)
    try:
        code = main.main(['caption', str(film), '--bundle', 'none', *words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == exit_codes.UNUSABLE and 'Traceback' not in capsys.readouterr().err


@pytest.mark.parametrize(
    ('verb', 'option'),
    [
        ('watch', '--seconds'), ('doctor', '--seconds'), ('demo', '--seconds'),
        ('build', '--workspace'),
    ],
)  # fmt: skip
def test_no_verb_takes_nan(verb: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [verb, 'x', option, 'nan'] if verb == 'build' else [verb, option, 'nan']
    with pytest.raises(SystemExit) as stop:
        main.main(words)
    assert stop.value.code == exit_codes.UNUSABLE
    assert f'argument {option}' in capsys.readouterr().err


def test_an_interval_outside_the_recording_is_named(tmp_path: Path) -> None:
    film = write_film(tmp_path / 'film.mp4', 20)
    beyond = caption_with_stand_in(film, ('--bundle', 'none', '--start', '100'))
    assert beyond.code == exit_codes.UNUSABLE and 'no image from 100 to inf s' in beyond.err
    turned = caption_with_stand_in(film, ('--bundle', 'none', '--start', '2', '--end', '1'))
    assert turned.code == exit_codes.UNUSABLE and 'the end comes after the start' in turned.err
    inside = caption_with_stand_in(film, (*EVERY_FRAME, '--start', '0.5', '--end', '1'))
    assert inside.code == exit_codes.DONE and len(inside.frames) == 5


@pytest.mark.parametrize('fault', ['no image', 'no recording', 'no folder', 'interrupted'])
def test_subtitles_that_were_there_survive_a_run_that_fails(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / 'old.srt'
    old.write_text("subtitles of an hour's work")
    source = tmp_path / 'film.mp4'
    if fault == 'no image':
        source = write_pictures(tmp_path / 'bag', steady(4), encodings=('8UC3',))
    elif fault == 'no folder':
        old = tmp_path / 'no' / 'such' / 'a.srt'
        write_film(source, 5)
    elif fault == 'interrupted':
        write_film(source, 5)

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr('penguin_ros.cli.caption._print_caption', interrupt)
    done = caption_with_stand_in(source, (*EVERY_FRAME, '--srt', str(old)))
    assert done.code in (exit_codes.UNUSABLE, exit_codes.INTERRUPTED)
    if fault != 'no folder':
        assert old.read_text() == "subtitles of an hour's work"
    assert not [name for name in os.listdir(tmp_path) if name.endswith('.part')]
