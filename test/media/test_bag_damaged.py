# SPDX-License-Identifier: Apache-2.0
"""Bags as robots leave them: cut off, damaged, without metadata, with topics of unknown types. What
is whole is used, and what is not is counted with its reason.
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from support.bag_pictures import START, TENTH, seen, steady, tenths, write_pictures

from penguin_ros.media.bag import BagRecording
from penguin_ros.media.bag_storage import ZSTD_MAGIC
from penguin_ros.media.recordings import open_recording
from penguin_ros.media.video import MediaError

pytest.importorskip('rosbags')


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('which', [{0}, {7}, {3, 4, 39}])
def test_messages_that_are_cut_short_are_counted_and_all_others_seen(
    tmp_path: Path, storage: str, which: set[int]
) -> None:
    bag = write_pictures(tmp_path / 'bag', steady(40), storage=storage, damaged=which)
    recording = BagRecording(bag)
    times, greys = seen(recording)
    assert greys == [index for index in range(40) if index not in which]
    assert times == [time for index, time in enumerate(tenths(40)) if index not in which]
    assert recording.account.left_out['message'].count == len(which)
    assert 'cut short' in recording.account.lines()[0]
    assert recording.account.is_seen_to_the_end


@pytest.mark.parametrize('compression', ['', 'storage'])
@pytest.mark.parametrize('share', [0.35, 0.6, 0.9])
def test_an_mcap_that_was_cut_off_gives_what_is_whole_and_says_that_it_was_cut(
    tmp_path: Path, share: float, compression: str
) -> None:
    whole = write_pictures(tmp_path / 'whole', steady(400), compression=compression)
    data = (whole / 'whole.mcap').read_bytes()
    cut = tmp_path / 'cut.mcap'
    cut.write_bytes(data[: int(len(data) * share)])
    recording = open_recording(cut)
    times, greys = seen(recording)
    assert greys == [index % 256 for index in range(len(greys))] and times == tenths(len(greys))
    assert len(greys) > (0.85 * share * 400 if not compression else 0)
    account = recording.account
    assert not account.is_seen_to_the_end
    assert 'cut off' in account.lines()[0] and 'mcap recover' in account.lines()[0]


def test_a_chunk_whose_checksum_does_not_fit_is_counted_and_what_follows_is_seen(
    tmp_path: Path,
) -> None:
    bag = write_pictures(tmp_path / 'bag', steady(1000), compression='storage')
    file = bag / 'bag.mcap'
    data = bytearray(file.read_bytes())
    chunk = data.index(ZSTD_MAGIC, data.index(ZSTD_MAGIC) + 4)  # the second one
    data[chunk + 10 : chunk + 20] = bytes(10)
    file.write_bytes(data)
    recording = BagRecording(bag)
    _, greys = seen(recording)
    left_out = recording.account.left_out_count
    assert 0 < left_out and len(greys) + left_out == 1000
    assert greys[-1] == 999 % 256


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('metadata', [None, '', 'rosbag2_bagfile_information: ['])
def test_a_folder_whose_metadata_is_missing_or_damaged_is_read(
    tmp_path: Path, storage: str, metadata: str | None
) -> None:
    bag = write_pictures(tmp_path / 'bag', steady(40), storage=storage)
    if metadata is None:
        (bag / 'metadata.yaml').unlink()
    else:
        (bag / 'metadata.yaml').write_text(metadata)
    recording = open_recording(bag)
    assert seen(recording) == (tenths(40), list(range(40)))
    assert 'metadata.yaml' in recording.account.lines()[0]


def test_a_database_whose_last_writes_lie_beside_it_is_read_whole(tmp_path: Path) -> None:
    bag = write_pictures(tmp_path / 'bag', steady(20), storage='sqlite3')
    database = sqlite3.connect(bag / 'bag.db3')
    database.execute('PRAGMA journal_mode=WAL')
    database.execute('PRAGMA wal_autocheckpoint=0')
    database.execute(
        'INSERT INTO messages(topic_id, timestamp, data) '
        'SELECT topic_id, timestamp + 2000000000, data FROM messages'
    )
    database.commit()
    left = tmp_path / 'left'
    shutil.copytree(bag, left)  # as the power cut leaves it
    database.close()
    assert (left / 'bag.db3-wal').stat().st_size > 0
    (left / 'metadata.yaml').unlink()
    times, _ = seen(open_recording(left))
    assert len(times) == 40 and times[-1] == pytest.approx(3.9, abs=1.0)


def test_a_database_without_a_table_says_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / 'bag.db3'
    database = sqlite3.connect(file)
    database.execute('CREATE TABLE something(id INTEGER)')
    database.commit()
    database.close()
    with pytest.raises(MediaError, match='no table of topics.*bag.db3-wal'):
        open_recording(file)


@pytest.mark.parametrize(
    ('definition', 'kind'),
    [
        ('int32 a\nstring<=10 b\n', 'my_msgs/msg/Thing'),
        ('int32 a\n@weird[ 3 = \n', 'my_msgs/msg/Thing'),
        ('', 'other_msgs/msg/Empty'),
        ('module m { struct S { long x; }; };', 'idl_msgs/msg/S'),
    ],
)
def test_types_that_are_not_asked_for_do_not_matter(
    tmp_path: Path, definition: str, kind: str
) -> None:
    before = [('/thing', kind, definition, START)]
    bag = write_pictures(tmp_path / 'bag', steady(40), before=before)
    assert seen(BagRecording(bag)) == (tenths(40), list(range(40)))


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('compression', ['file', 'message'])
def test_compressed_bags_are_read_with_and_without_metadata(
    tmp_path: Path, storage: str, compression: str
) -> None:
    bag = write_pictures(tmp_path / 'bag', steady(10), storage=storage, compression=compression)
    assert seen(open_recording(bag))[1] == list(range(10))
    (bag / 'metadata.yaml').unlink()
    assert seen(open_recording(bag))[1] == list(range(10))


def test_an_empty_topic_and_one_of_another_type_are_named(tmp_path: Path) -> None:
    empty = write_pictures(tmp_path / 'empty', [])
    with pytest.raises(MediaError, match='/camera/image of .* is empty'):
        open_recording(empty)
    other = write_pictures(
        tmp_path / 'other', steady(2), before=[('/thing', 'my_msgs/msg/Thing', 'int32 a\n', START)]
    )
    with pytest.raises(MediaError, match='/thing, which carries my_msgs/msg/Thing'):
        open_recording(other, '/thing')


def test_a_bag_begins_with_its_first_message_not_with_its_first_image(tmp_path: Path) -> None:
    before = [('/thing', 'my_msgs/msg/Thing', 'int32 a\n', START - 30 * TENTH)]
    bag = write_pictures(tmp_path / 'bag', steady(10), before=before)
    recording = BagRecording(bag)
    assert seen(recording)[0] == tenths(10, 3.0)
    assert seen(recording, start_ns=35 * TENTH, end_ns=38 * TENTH)[1] == [5, 6, 7]


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_split_bag_lacking_a_file_says_which_and_how_many_images_are_gone(
    tmp_path: Path, storage: str
) -> None:
    bag = write_pictures(tmp_path / 'bag', steady(20), storage=storage)
    text = (bag / 'metadata.yaml').read_text()
    suffix = 'mcap' if storage == 'mcap' else 'db3'
    text = text.replace(f'- bag.{suffix}', f'- bag.{suffix}\n  - bag_1.{suffix}', 1)
    text = text.replace('message_count: 20', 'message_count: 35')
    (bag / 'metadata.yaml').write_text(text)
    recording = BagRecording(bag)
    assert len(seen(recording)[1]) == 20
    assert f'lacks bag_1.{suffix}' in recording.account.lines()[0]
    assert recording.account.left_out['missing'].count == 15
    assert not recording.account.is_seen_to_the_end
