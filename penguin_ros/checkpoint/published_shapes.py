# SPDX-License-Identifier: Apache-2.0
"""The shapes of the published models, for what is asked before any file of them is there: how much
memory they take, and checkpoints as large as they are. Token ids belong to a tokenizer and are 0.
"""

from __future__ import annotations

from penguin_ros.checkpoint.shapes import CheckpointShape, ProcessorShape, TransformerShape

PROCESSOR = ProcessorShape((0.5,) * 3, (0.5,) * 3, 1 / 255, 16, 16384, 14, 1, 2, 1.0, 180)
ENCODER = TransformerShape(28, 1024, 3072, 16, 8, 128, 1e6, 1e-6)
PUBLISHED = {
    '2b': CheckpointShape(
        llm=TransformerShape(28, 2048, 6144, 16, 8, 128, 1e6, 1e-6),
        encoder=ENCODER,
        channels=3,
        patch_size=14,
        vocabulary_size=151936,
        image_token_id=0,
        is_tied=True,
        stop_token_ids=(),
        max_positions=40960,
        processor=PROCESSOR,
    ),
    '8b': CheckpointShape(
        llm=TransformerShape(36, 4096, 12288, 32, 8, 128, 1e6, 1e-6),
        encoder=ENCODER,
        channels=3,
        patch_size=14,
        vocabulary_size=151936,
        image_token_id=0,
        is_tied=False,
        stop_token_ids=(),
        max_positions=40960,
        processor=PROCESSOR,
    ),
}


def published_shape(name: str) -> CheckpointShape | None:
    """Returns the shape of the model that a name ends with ('tencent/Penguin-VL-2B', '8b'); None
    for another name.
    """
    size = name.rstrip('/').rpartition('-')[2].lower()
    return PUBLISHED.get(size)
