# SPDX-License-Identifier: Apache-2.0
"""A process of its own: damages a bundle in many ways, one after the other, and tries to run each
with ONNX Runtime.

`python damaged_bundles.py BUNDLE WORK is_fitted`; prints one line of JSON per damage: what was done
and what came of it. With is_fitted = 1 the manifest is made to fit the damage, so that the library
meets the damaged file itself.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from penguin_ros.backends.base.bundle import open_bundle, read_manifest, write_manifest
from penguin_ros.backends.base.file_digests import file_spec
from penguin_ros.backends.onnxruntime.backend import OnnxBackend
from penguin_ros.config import ModelConfig
from penguin_ros.errors import PenguinError

CONFIG = ModelConfig(max_length=64, kv_slots=1, threads=1)


def damages(bundle: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yields (what, name of the file, its new content)."""
    for path in sorted(each for each in bundle.rglob('*') if each.is_file()):
        name, content = str(path.relative_to(bundle)), path.read_bytes()
        size = len(content)
        for length in sorted(
            {0, 1, size // 100, size // 3, size // 2, size * 9 // 10, size - 4096, size - 1}
        ):
            if 0 <= length < size:
                yield f'{name} cut to {length} of {size}', name, content[:length]
        for place in (0, size // 2, size - 1):
            yield (
                f'{name} changed at {place}',
                name,
                content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :],
            )
        yield f'{name} all zeros', name, bytes(size)


def attempt(folder: Path) -> str:
    """Returns 'runs', or the error."""
    backend = None
    try:
        bundle = open_bundle(folder)
        backend = OnnxBackend(bundle, CONFIG)
        backend.open()
        return 'runs'
    except PenguinError as error:
        return f'{type(error).__name__}: {error}'
    finally:
        if backend is not None:
            backend.close()


def main() -> None:
    source, work, is_fitted = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == '1'
    for count, (what, name, content) in enumerate(damages(source)):
        if is_fitted and (name == 'bundle.yaml' or name.startswith('tokenizer')):
            continue
        folder = work / str(count)
        shutil.copytree(source, folder)
        (folder / name).write_bytes(content)
        if is_fitted:
            manifest = read_manifest(folder)
            files = {**manifest.files, name: file_spec(folder / name)}
            write_manifest(folder, dataclasses.replace(manifest, files=files))
        print(json.dumps({'what': what, 'result': attempt(folder)}), flush=True)
        shutil.rmtree(folder)


if __name__ == '__main__':
    main()
