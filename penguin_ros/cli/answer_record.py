# SPDX-License-Identifier: Apache-2.0
"""An answer as plain JSON values, for scripts that read our output. Knows the value rooms only."""
from __future__ import annotations

from penguin_ros.frame import NANOSECONDS
from penguin_ros.request import Answer

DURATIONS = ('wait_ns', 'encode_ns', 'prefill_ns', 'decode_ns', 'first_token_ns')


def answer_record(answer: Answer) -> dict[str, object]:
    """Text, error and evidence; durations in seconds, stamps in integer nanoseconds."""
    evidence = answer.evidence
    return {
        'text': answer.text,
        'error': str(answer.error) if answer.error else None,
        'camera': answer.camera,
        'stamps_ns': [frame.stamp_ns for frame in evidence.frames],
        'frame_types': [frame.type.name.lower() for frame in evidence.frames],
        'model': evidence.model_name, 'digest': evidence.model_digest,
        'backend': evidence.backend, 'precision': evidence.precision,
        'tokens': {'visual': evidence.visual_tokens, 'prompt': evidence.prompt_tokens, 'generated': evidence.generated_tokens,
                   'reused': evidence.reused_tokens, 'drafted': evidence.drafted_tokens,
                   'accepted': evidence.accepted_tokens},
        'forward_passes': evidence.forward_passes,
        'seconds': {name.removesuffix('_ns'): round(getattr(evidence, name) / NANOSECONDS, 6) for name in DURATIONS},
        'stop_reason': evidence.stop_reason.name.lower(),
        'is_truncated': evidence.is_truncated,
    }
