# SPDX-License-Identifier: Apache-2.0
"""Which files a bag consists of, and each of them opened, whatever their names: a folder with or
without metadata.yaml, or one file of it.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penguin_ros.media.bag_storage import ZSTD_MAGIC, BagFile, DamagedBag, zstd
from penguin_ros.media.db3_file import MAGIC as DB3_MAGIC
from penguin_ros.media.db3_file import Db3File
from penguin_ros.media.mcap_file import MAGIC as MCAP_MAGIC
from penguin_ros.media.mcap_file import McapFile
from penguin_ros.media.video import MediaError
from penguin_ros.system_reasons import system_reason

METADATA = 'metadata.yaml'
BAG_SUFFIXES = ('.mcap', '.db3', '.mcap.zstd', '.db3.zstd')
PIECE = 1024 * 1024


@dataclass
class BagFiles:
    """The files of a bag, opened, in the order of time.

    `notes` are sentences about what of it is not as it should be; `promised` are the messages of
    each topic by metadata.yaml, where there is one.
    """

    files: list[BagFile]
    notes: list[str] = field(default_factory=list)
    promised: dict[str, int] = field(default_factory=dict)
    scratch: list[tempfile.TemporaryDirectory[str]] = field(default_factory=list)


def has_bag_files(folder: Path) -> bool:
    """Returns whether a folder holds the data of a bag, or its metadata.yaml."""
    return (folder / METADATA).is_file() or bool(_data_files(folder))


def open_bag_files(path: Path) -> BagFiles:
    """Opens a folder or a single file; MediaError when nothing of it can be read."""
    bag = BagFiles([])
    paths = [path]
    if path.is_dir():
        paths = _listed(path, bag) or _data_files(path)
        if not paths:
            raise MediaError(
                f'cannot read the bag {path}',
                f'its {METADATA} is there, the data is not',
                'Copy the .mcap or .db3 files to it, or give a folder that has them',
            )
    problems = []
    for each in paths:
        try:
            bag.files.append(_opened(each, bag))
        except DamagedBag as error:
            problems.append(error)
            bag.notes.append(f'{each.name} cannot be read: {error.why}')
        except OSError as error:
            why, fix = system_reason(error)
            raise MediaError(f'cannot read the bag {path}', why, fix) from error
    if not bag.files:
        fix = problems[0].fix or f'Try: ros2 bag reindex {path if path.is_dir() else path.parent}'
        raise MediaError(f'cannot read the bag {path}', problems[0].why, fix)
    bag.files.sort(key=lambda file: file.start_ns or 0)
    return bag


def _opened(path: Path, bag: BagFiles) -> BagFile:
    with path.open('rb') as file:
        start = file.read(len(DB3_MAGIC))
    if not start:
        raise DamagedBag('it is empty: the recorder was killed before it wrote anything')
    if start.startswith(ZSTD_MAGIC):
        return _opened(_decompressed(path, bag), bag)
    if start.startswith(MCAP_MAGIC):
        return McapFile(path)
    if start == DB3_MAGIC:
        return Db3File(path)
    if not start.strip(b'\0'):
        raise DamagedBag('it begins with zeros, as a file does whose content was never written')
    raise DamagedBag('it is neither MCAP nor SQLite')


def _decompressed(path: Path, bag: BagFiles) -> Path:
    """Decompresses a file beside nobody's way, among the temporary files."""
    scratch = tempfile.TemporaryDirectory(prefix='penguin_bag_')
    bag.scratch.append(scratch)
    target = Path(scratch.name) / path.name.removesuffix('.zstd')
    try:
        with path.open('rb') as source, target.open('wb') as output:
            for piece in _pieces(source, zstd()):
                output.write(piece)
    except OSError as error:
        why, fix = system_reason(error)
        raise MediaError(
            f'{path} cannot be decompressed into {scratch.name}',
            why,
            f'{fix}. Or set TMPDIR to a folder with room, or type: zstd -d {path}',
        ) from error
    except Exception as error:  # of the library for zstd
        bag.notes.append(f'{path.name} is cut off, or damaged: {error}')
    return target


def _pieces(source: Any, module: Any) -> Any:
    decompressor = module.ZstdDecompressor()
    if module.__name__ == 'zstandard':
        decompressor = decompressor.decompressobj()
    while piece := source.read(PIECE):
        yield decompressor.decompress(piece)
        if getattr(decompressor, 'eof', False):
            return


def _data_files(folder: Path) -> list[Path]:
    found = [each for each in folder.iterdir() if each.name.lower().endswith(BAG_SUFFIXES)]
    return sorted((each for each in found if each.is_file()), key=_natural)


def _listed(folder: Path, bag: BagFiles) -> list[Path]:
    """The files that metadata.yaml names; none where it is not there, or makes no sense."""
    if not (folder / METADATA).is_file():
        bag.notes.append(f'{folder} has no {METADATA}, as after a power cut: its files are read')
        return []
    import yaml

    try:
        content = (folder / METADATA).read_text(encoding='utf-8')
        information = yaml.safe_load(content)['rosbag2_bagfile_information']
        names = [str(name) for name in information['relative_file_paths']]
        bag.promised = {
            str(topic['topic_metadata']['name']): int(topic['message_count'])
            for topic in information['topics_with_message_count']
        }
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        bag.notes.append(f'{METADATA} of {folder} is damaged ({reason}): the files there are read')
        return []
    found = [folder / name for name in names]
    missing = [path.name for path in found if not path.is_file()]
    if missing:
        bag.notes.append(f'{folder} lacks {", ".join(missing)}, which {METADATA} names')
    present = [path for path in found if path.is_file()]
    return present or _data_files(folder)


def _natural(path: Path) -> list[tuple[int, str]]:
    return [
        (int(part), '') if part.isdigit() else (-1, part) for part in re.split(r'(\d+)', path.name)
    ]


def remove_scratch(bag: BagFiles) -> None:
    """Removes what was decompressed for reading."""
    while bag.scratch:
        folder = bag.scratch.pop()
        shutil.rmtree(folder.name, ignore_errors=True)
