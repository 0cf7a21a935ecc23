# SPDX-License-Identifier: Apache-2.0
"""The kernels of a bundle: what each is launched with, and its compiled forms. No CUDA is needed
here.

They lie in the folder `kernels` of the bundle, which the bundle's manifest covers like its other
files, so that damage is found when it is opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from penguin_ros.backends.base.manifest import PrecisionSpec
from penguin_ros.errors import BackendUnavailable, BundleCorrupt, BundleNotFound, BundleOutdated
from penguin_ros.kernels.network import Formats
from penguin_ros.kernels.table import Kernel, kernel_of

FOLDER = 'kernels'
INDEX = 'kernels.json'
FORMAT = 1
FLOATS = {'float16': 'fp16', 'bfloat16': 'bf16', 'float32': 'fp32'}
TABLES = {'F32': 'fp32', 'F16': 'fp16', 'BF16': 'bf16'}
BITS = {'int4': 4, 'int8': 8}
CACHES = {'': '', 'int8': 'i8'}
FIRST_SPECIAL = 90
"""PTX for this compute capability, ten times as large, and for later ones runs on no other."""

PTX_OF_CUDA = {80 + minor: f'12.{minor}' for minor in range(6)} | {
    86: '12.7',
    87: '12.8',
    88: '12.9',
    90: '13.0',
    91: '13.1',
    92: '13.2',
}
"""The first CUDA whose driver reads a version of PTX, which is counted ten times."""


@dataclass(frozen=True)
class Image:
    """A compiled form: for the compute capability `target`, ten times as large; `ptx` and `cubin`
    are files, `cubin` '' where there is no machine code; the rest see `kernels.table.Compiled`.
    """

    target: int
    symbol: str
    ptx: str
    cubin: str
    ptx_version: int
    shared_bytes: int
    registers: int = 0
    spilled_bytes: int = 0


@dataclass(frozen=True)
class KernelEntry:
    """A kernel and its compiled forms."""

    kernel: Kernel
    images: tuple[Image, ...]


@dataclass(frozen=True)
class KernelSet:
    """All kernels of a bundle in its folder; `sources` is the digest of what they were compiled
    from, `compiler` what compiled them.
    """

    folder: Path
    sources: str
    compiler: str
    entries: Mapping[str, KernelEntry]

    @property
    def targets(self) -> list[int]:
        """The compute capabilities that there is machine code for, ten times as large."""
        images = [image for entry in self.entries.values() for image in entry.images]
        return sorted({image.target for image in images if image.cubin})

    def entry(self, name: str) -> KernelEntry:
        """Returns a kernel; BundleOutdated when there is none of that name."""
        try:
            return self.entries[name]
        except KeyError:
            raise BundleOutdated(
                f'{self.folder} has no kernel {name}',
                'the bundle was built by another version of penguin_ros',
                f'Type: penguin build {self.folder.parent} --backend cuda',
            ) from None

    def image(self, name: str, target: int) -> Image:
        """Returns what a GPU of the compute capability `target` loads: machine code for it, else
        the newest PTX that it can run; BackendUnavailable when there is neither.
        """
        images = self.entry(name).images
        exact = [image for image in images if image.target == target]
        older = [one for one in images if one.target < min(target, FIRST_SPECIAL)]
        if found := exact or sorted(older, key=lambda one: one.target)[-1:]:
            return found[0]
        known = ', '.join(f'{image.target / 10:.1f}' for image in images)
        raise BackendUnavailable(
            f'the kernels of {self.folder.parent} do not run on this GPU',
            f'they are for compute capability {known}, and it has {target / 10:.1f}',
            f'Type: penguin build {self.folder.parent} --backend cuda --target sm_{target}',
        )

    def code(self, image: Image, target: int) -> tuple[bytes, bytes]:
        """Returns PTX, and machine code where it is that of `target`, else nothing."""
        has_code = image.cubin and image.target == target
        ptx = (self.folder / image.ptx).read_bytes()
        return ptx, (self.folder / image.cubin).read_bytes() if has_code else b''


def read_kernel_set(bundle: Path) -> KernelSet:
    """Reads which kernels a bundle has; BundleNotFound, BundleOutdated or BundleCorrupt."""
    path = bundle / FOLDER / INDEX
    build = f'Type: penguin build {bundle} --backend cuda'
    if not path.is_file():
        raise BundleNotFound(f'{bundle} has no kernels', f'{path} is missing', build)
    try:
        plain: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
        if plain['format'] != FORMAT:
            raise BundleOutdated(
                f'the kernels of {bundle} cannot be used',
                f'they have the format {plain["format"]}, this version reads {FORMAT}',
                build,
            )
        entries = {each['kernel']['name']: _entry(each) for each in plain['kernels']}
        return KernelSet(path.parent, plain['sources'], plain['compiler'], entries)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleCorrupt(f'{path} is damaged', str(error), build) from error


def write_kernel_set(found: KernelSet) -> None:
    """Writes the index into the folder, where the files lie already."""
    plain = {
        'format': FORMAT,
        'sources': found.sources,
        'compiler': found.compiler,
        'kernels': [
            {'kernel': each.kernel.as_json(), 'images': [asdict(one) for one in each.images]}
            for each in found.entries.values()
        ],
    }
    (found.folder / INDEX).write_text(json.dumps(plain, indent=1) + '\n', encoding='utf-8')


def cuda_of_ptx(ptx: bytes) -> str:
    """Returns the CUDA whose driver reads a PTX at least ('12.5'); '' when that is not known."""
    found = re.search(rb'^\.version\s+(\d+)\.(\d+)', ptx, re.MULTILINE)
    return PTX_OF_CUDA.get(int(found[1]) * 10 + int(found[2]), '') if found else ''


def _entry(plain: Mapping[str, Any]) -> KernelEntry:
    return KernelEntry(
        kernel_of(plain['kernel']), tuple(Image(**image) for image in plain['images'])
    )


def kernel_formats(precision: PrecisionSpec, table: str) -> Formats:
    """Returns the number formats of a network as kernels call them; `table` is that of the
    embeddings as in safetensors.
    """
    return Formats(
        compute=FLOATS[precision.compute],
        llm=BITS.get(precision.linears, 16),
        head=BITS.get(precision.head, 16),
        encoder=BITS.get(precision.vision, 16),
        table=TABLES[table],
        cache=CACHES[precision.cache],
    )
