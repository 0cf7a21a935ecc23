# SPDX-License-Identifier: Apache-2.0
"""Runs a bundle with ONNX Runtime.

Importing this file needs no onnxruntime; `open` imports it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import (
    ENCODE_PATCHES,
    BackendDescription,
    BackendStats,
    Logits,
)
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.slot_backend import (
    BRANCH_LOGITS,
    BRANCH_ROWS,
    Append,
    BranchLimits,
    SlotBackend,
    StagedFeatures,
)
from penguin_ros.backends.onnxruntime.decoder import OnnxDecoder
from penguin_ros.backends.onnxruntime.device_encoder import DeviceEncoder
from penguin_ros.backends.onnxruntime.encoder import OnnxEncoder
from penguin_ros.backends.onnxruntime.library import decoder_variant, load_library
from penguin_ros.backends.onnxruntime.providers import Placement, choose_placement, usable_cores
from penguin_ros.backends.onnxruntime.session import SessionMaker
from penguin_ros.backends.onnxruntime.steps import Step
from penguin_ros.config import ModelConfig
from penguin_ros.model_inputs import FramePatches
from penguin_ros.nvidia_card import find_card

if TYPE_CHECKING:
    OnnxFeatures = StagedFeatures[NDArray[np.floating[Any]]]
else:  # numpy 1.21 of Ubuntu 22.04 cannot subscript np.floating when the program runs
    OnnxFeatures = StagedFeatures[NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """The graphs of both parts, opened; `idle`: why a card of this machine is not used, ''
    otherwise.
    """

    encoder: OnnxEncoder | DeviceEncoder
    decoder: OnnxDecoder
    idle: str = ''


class OnnxBackend(SlotBackend[OnnxNetwork, OnnxFeatures]):
    """Penguin-VL in ONNX Runtime. A slot is at most as long as the bundle was built for. A slice of
    an encode is `encode_patches` rows of one layer of one frame, 512 at most; on a GPU it is a
    frame.

    `variant` names the graph of the LLM, full or two_part; empty takes the best that the installed
    version runs.
    """

    NAME = 'onnxruntime'

    def __init__(self, bundle: Bundle, config: ModelConfig, variant: str = '') -> None:
        super().__init__(bundle.shape.patch_values)
        self._bundle = bundle
        self._config = config
        self._variant = variant

    def _open(self) -> tuple[OnnxNetwork, BackendDescription]:
        """BackendUnavailable without onnxruntime or the provider asked for, BundleMismatch when
        this version cannot run the bundle.
        """
        library = load_library()
        manifest, config = self._bundle.manifest, self._config
        placement = choose_placement(library, config)
        maker = SessionMaker(library, self._bundle, placement, config.threads or usable_cores())
        length = min(config.max_length, manifest.max_length)
        decoder = OnnxDecoder(maker, self._variant or decoder_variant(library), config, length)
        encoder = _encoder(maker, config)
        shape, cache = manifest.shape, decoder.cache.shape
        return OnnxNetwork(encoder, decoder, placement.idle), BackendDescription(
            name=self.NAME,
            device=placement.device,
            precision=manifest.precision.linears,
            model_name=self._bundle.name,
            model_digest=self._bundle.digest,
            hidden_size=shape.llm.hidden_size,
            vocabulary_size=shape.vocabulary_size,
            max_length=length,
            slots=decoder.slots,
            slot_bytes=cache.slot_bytes,
            feature_bytes_per_token=(shape.llm.hidden_size + shape.encoder.hidden_size)
            * cache.dtype.itemsize,
            way=_way(placement, decoder),
        )

    def stats(self) -> BackendStats:
        """See Backend: what was captured and replayed on a device, and why a card is idle."""
        network = self._session
        if network is None:
            return BackendStats()
        stats = network.decoder.stats()
        return replace(stats, slowdown=stats.slowdown or network.idle)

    def _encode_frame(
        self, session: OnnxNetwork, frame: FramePatches
    ) -> Generator[None, None, OnnxFeatures]:
        return StagedFeatures(*(yield from session.encoder.encode(frame)))

    def _read(
        self, session: OnnxNetwork, features: OnnxFeatures, stage: str
    ) -> NDArray[np.float32]:
        values: NDArray[np.float32] = features.stages[stage].astype(np.float32)
        if stage == 'projected':
            values *= np.float32(self._bundle.manifest.precision.feature_scale)
        return values

    def _append(self, session: OnnxNetwork, append: Append) -> Logits:
        return session.decoder.append(
            Step(append.index, append.past, self._embeddings(append), append.wanted, append.layout)
        )

    def _branch_limits(self, session: OnnxNetwork) -> BranchLimits:
        return BranchLimits(BRANCH_ROWS, BRANCH_LOGITS)

    def _append_branches(self, session: OnnxNetwork, append: Append) -> Logits:
        return self._append(session, append)

    def _copy(self, session: OnnxNetwork, source: int, target: int, length: int) -> None:
        session.decoder.copy(source, target, length)

    def _forget(self, session: OnnxNetwork, index: int, length: int, held: int) -> None:
        session.decoder.cache.forget(index, length, held)

    def _embeddings(self, append: Append) -> NDArray[np.float32]:
        """Returns (S, hidden_size) of the tokens, with visual features in their places."""
        spans = append.chunk.spans
        features = [self._own(span.features).stages['projected'] for span in spans]
        embeddings = self._bundle.embedding_table.read(append.chunk.token_ids)
        for span, rows in zip(spans, features, strict=True):
            embeddings[span.offset : span.offset + span.count] = rows[
                span.first : span.first + span.count
            ]
        return embeddings


def _encoder(maker: SessionMaker, config: ModelConfig) -> OnnxEncoder | DeviceEncoder:
    device = maker.placement.device
    if device == 'cpu':
        return OnnxEncoder(maker, config.encode_patches or ENCODE_PATCHES)
    return DeviceEncoder(maker, device)


def _way(placement: Placement, decoder: OnnxDecoder) -> str:
    """Says which provider runs, and how."""
    provider = f'{placement.best.removesuffix("ExecutionProvider")} provider'
    if placement.device == 'cpu':
        return provider
    card = find_card()
    return ', '.join((provider, decoder.launches, *([card.name] if card else [])))
