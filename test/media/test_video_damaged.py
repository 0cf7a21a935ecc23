# SPDX-License-Identifier: Apache-2.0
"""Videos that do not decode everywhere, or not at all: what decodes is seen to the end, at its true
times, and the rest is counted with its reason.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.videos import damage, with_empty_edit, write_film, write_matroska

from penguin_ros.media import video as module
from penguin_ros.media.source import open_source
from penguin_ros.media.video import MediaError, VideoReader, VideoRecording

SECOND = 1_000_000_000


def times(recording: VideoRecording) -> list[float]:
    return [round(time_ns / SECOND, 3) for time_ns, _ in recording.frames()]


@pytest.mark.parametrize(('start', 'end'), [(0.4, 0.5), (0.2, 0.3), (0.55, 0.62)])
def test_a_film_goes_on_behind_damage_and_says_where_it_was(
    tmp_path: Path, start: float, end: float
) -> None:
    film = damage(write_film(tmp_path / 'film.mp4'), start, end)
    recording = VideoRecording(film)
    found = times(recording)
    assert found[-1] == 5.9 and len(found) < 60
    account = recording.account
    assert len(found) + account.left_out_count == 60 and account.is_seen_to_the_end
    assert 'do not decode' in account.lines()[0] and 'mpeg4' in account.lines()[0]


def test_the_camera_nodes_source_goes_on_behind_damage_too(tmp_path: Path) -> None:
    source = open_source(str(damage(write_film(tmp_path / 'film.mp4'), 0.4, 0.5)), is_looping=False)
    shown = []
    for tenth in range(60):
        assert source.advance(tenth * SECOND // 10)
        shown.append(source.image().tobytes())
    assert not source.advance(6 * SECOND)
    assert len(set(shown[40:])) > 15  # the box moves on


@pytest.mark.parametrize('share', [0.5, 0.7, 0.95])
def test_a_film_that_is_cut_off_is_seen_as_far_as_it_goes_and_told(
    tmp_path: Path, share: float
) -> None:
    whole = write_matroska(tmp_path / 'whole.mkv', range(0, 4000, 100))
    cut = tmp_path / 'cut.mkv'
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    recording = VideoRecording(cut)
    found = times(recording)
    assert found == [round(index / 10, 3) for index in range(len(found))]
    assert abs(len(found) - 40 * share) <= 2
    assert not recording.account.is_seen_to_the_end
    assert 'is cut off' in recording.account.lines()[-1]


def test_an_avi_and_an_mp4_that_are_cut_off_are_told(tmp_path: Path) -> None:
    avi = write_film(tmp_path / 'film.avi', codec='MJPG')
    avi.write_bytes(avi.read_bytes()[: avi.stat().st_size // 2])
    recording = VideoRecording(avi)
    assert 20 < len(times(recording)) < 40 and not recording.account.is_seen_to_the_end
    mp4 = write_film(tmp_path / 'film.mp4')
    mp4.write_bytes(mp4.read_bytes()[: mp4.stat().st_size // 2])
    with pytest.raises(MediaError):  # its index is at its end
        VideoRecording(mp4)


def test_frames_of_an_avi_that_damage_hides_are_counted_by_its_head(tmp_path: Path) -> None:
    film = damage(write_film(tmp_path / 'film.avi', codec='MJPG'), 0.3, 0.4)
    recording = VideoRecording(film)
    found = times(recording)
    assert len(found) < 60 and len(found) + recording.account.left_out_count == 60


def test_a_codec_that_is_not_decoded_is_named_with_the_command(tmp_path: Path) -> None:
    film = write_film(tmp_path / 'my film.mp4')
    data = film.read_bytes()
    import cv2

    film.write_bytes(data.replace(b'mp4v', b'av01').replace(b'esds', b'av1C'))
    if not cv2.VideoCapture(str(film), cv2.CAP_FFMPEG).isOpened():
        pytest.skip('this OpenCV opens no film whose codec it lacks')
    with pytest.raises(MediaError, match="codec is av1.*none of its 60.*'.*my film.mp4'"):
        VideoRecording(film)


@pytest.mark.parametrize('first_ms', [0, 3000, 12_500])
def test_times_count_from_the_files_zero_not_from_the_first_image(
    tmp_path: Path, first_ms: int
) -> None:
    film = write_matroska(
        tmp_path / 'late.mkv', [first_ms + 200 * n for n in range(10)], range(0, 15_000, 20)
    )
    recording = VideoRecording(film)
    assert times(recording) == [round(first_ms / 1000 + 0.2 * n, 3) for n in range(10)]
    start_ns = (first_ms + 500) * SECOND // 1000
    cut = [time_ns for time_ns, _ in recording.frames(0.0, start_ns, start_ns + SECOND)]
    assert [round(time_ns / SECOND - first_ms / 1000, 3) for time_ns in cut] == [
        *(0.6, 0.8, 1.0, 1.2, 1.4)
    ]


def test_an_edit_list_that_begins_with_nothing_delays_the_first_image(tmp_path: Path) -> None:
    film = with_empty_edit(write_film(tmp_path / 'late.mp4', 10), 2500)
    assert times(VideoRecording(film))[:2] == [2.5, 2.6]


def test_the_camera_node_shows_nothing_before_the_first_image(tmp_path: Path) -> None:
    film = write_matroska(tmp_path / 'late.mkv', [1000, 1200, 1400], range(0, 2000, 20))
    source = open_source(str(film))
    assert source.advance(0) and not source.has_image
    assert source.advance(998_000_000) and not source.has_image
    assert source.advance(SECOND) and source.has_image and source.image().mean() < 2
    assert source.advance(1_300_000_000) and round(source.image().mean()) == 8


def test_the_camera_node_shows_each_frame_at_its_own_time(tmp_path: Path) -> None:
    film = write_matroska(tmp_path / 'film.mkv', [0, 100, 200, 5000, 5050, 9000])
    if not VideoReader(film).shortest_gap_ns():
        pytest.skip('this OpenCV tells no times of frames before it decodes them')
    source = open_source(str(film), is_looping=False)
    assert source.native_hz == pytest.approx(20.0)  # by its shortest gap, of 50 ms
    seen = {}
    for at_ms in (0, 150, 250, 4998, 5000, 5060, 8998, 9000, 9049):
        assert source.advance(at_ms * SECOND // 1000)
        seen[at_ms] = round(source.image().mean() / 8)
    assert seen == {0: 0, 150: 1, 250: 2, 4998: 2, 5000: 3, 5060: 4, 8998: 4, 9000: 5, 9049: 5}
    assert not source.advance(13 * SECOND)


def test_images_that_opencv_fails_to_convert_are_an_error_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write_matroska(tmp_path / 'still.mkv', range(0, 1000, 100))

    class Stale(VideoReader):
        """Gives out the first image again and again, and calls it a success."""

        def image(self) -> module.BgrImage | None:
            self._capture = _Stale(self._capture)
            return super().image()

    class _Stale:
        def __init__(self, capture: object) -> None:
            self._capture = capture

        def __getattr__(self, name: str) -> object:
            return getattr(self._capture, name)

        def retrieve(self) -> object:
            import numpy as np

            return True, np.full((48, 64, 3), 7, np.uint8)

    monkeypatch.setattr(module, 'VideoReader', Stale)
    monkeypatch.setattr(module, 'conversion_fault', lambda path, index: 'it is interlaced')
    with pytest.raises(MediaError, match='interlaced.*yadif'):
        VideoRecording(film)


def test_a_still_video_is_not_taken_for_one_that_fails(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    path = tmp_path / 'still.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 5, (64, 48))
    for _ in range(10):
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()
    assert len(times(VideoRecording(path))) == 10


@pytest.mark.parametrize('name', ['a%03d.mp4', '50% #1?.mp4', 'udp:film.mp4', "it's.mp4", '-x.mp4'])
def test_a_file_may_have_any_name(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / 'dir %02d #?'
    folder.mkdir()
    write_film(tmp_path / 'film.mp4', 5).rename(folder / name)
    monkeypatch.chdir(folder)
    assert len(times(VideoRecording(folder / name))) == 5
    assert len(times(VideoRecording(Path(name)))) == 5


@pytest.mark.skipif(os.getuid() == 0, reason='root may read everything')
def test_a_film_that_may_not_be_read_is_called_that(tmp_path: Path) -> None:
    film = write_film(tmp_path / 'film.mp4', 5)
    film.chmod(0)
    with pytest.raises(MediaError, match='lacks the permission'):
        VideoRecording(film)
