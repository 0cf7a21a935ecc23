# SPDX-License-Identifier: Apache-2.0
"""Answers and their pieces as the protocol writes them, with the evidence in a field of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from penguin_ros.request import Answer, Evidence, StopReason, TokenLogprob

Json = dict[str, Any]

CUT = (StopReason.MAX_TOKENS, StopReason.REPETITION, StopReason.DEADLINE)


@dataclasses.dataclass(frozen=True)
class Heading:
    """What every part of one answer begins with; `created` is in seconds of the wall clock."""

    id: str
    created: int
    model: str

    def completion(self, answer: Answer) -> Json:
        """Returns a whole answer."""
        choice = {
            'index': 0,
            'message': {'role': 'assistant', 'content': answer.text, 'refusal': None},
            'logprobs': _logprobs(answer.logprobs) if answer.logprobs else None,
            'finish_reason': finish_reason(answer),
        }
        return {
            **self._top('chat.completion'),
            'choices': [choice],
            'usage': usage(answer.evidence),
            'penguin': extra(answer),
        }

    def beginning(self) -> Json:
        """Returns the first chunk of a stream, which says who speaks."""
        return self._chunk({'role': 'assistant', 'content': ''})

    def piece(self, text: str, logprobs: Sequence[TokenLogprob]) -> Json:
        """Returns a chunk with a piece of the text."""
        return self._chunk({'content': text}, logprobs)

    def end(self, answer: Answer, logprobs: Sequence[TokenLogprob]) -> Json:
        """Returns the last chunk with a choice; `logprobs` of tokens that came without text."""
        chunk = self._chunk({}, logprobs)
        chunk['choices'][0]['finish_reason'] = finish_reason(answer)
        return {**chunk, 'penguin': extra(answer)}

    def usage(self, answer: Answer) -> Json:
        """Returns the chunk with the counts."""
        return {
            **self._top('chat.completion.chunk'),
            'choices': [],
            'usage': usage(answer.evidence),
        }

    def _chunk(self, delta: Json, logprobs: Sequence[TokenLogprob] = ()) -> Json:
        choice = {
            'index': 0,
            'delta': delta,
            'logprobs': _logprobs(logprobs) if logprobs else None,
            'finish_reason': None,
        }
        return {**self._top('chat.completion.chunk'), 'choices': [choice]}

    def _top(self, kind: str) -> Json:
        return {'id': self.id, 'object': kind, 'created': self.created, 'model': self.model}


def finish_reason(answer: Answer) -> str:
    """Returns why a text ended: by itself, or cut."""
    return 'length' if answer.evidence.stop_reason in CUT else 'stop'


def usage(evidence: Evidence) -> Json:
    """Returns the counts of tokens; reused ones are part of the prompt's."""
    stats = evidence.stats
    return {
        'prompt_tokens': stats.prompt_tokens,
        'completion_tokens': stats.generated_tokens,
        'total_tokens': stats.prompt_tokens + stats.generated_tokens,
        'prompt_tokens_details': {'cached_tokens': stats.reused_tokens, 'audio_tokens': 0},
        'completion_tokens_details': {
            'reasoning_tokens': 0,
            'audio_tokens': 0,
            'accepted_prediction_tokens': stats.accepted_tokens,
            'rejected_prediction_tokens': stats.drafted_tokens - stats.accepted_tokens,
        },
    }


def extra(answer: Answer) -> Json:
    """Returns what the protocol has no place for."""
    return {
        'request_id': answer.id,
        'evidence': evidence_fields(answer.evidence),
        'confidence': answer.confidence,
        'chosen': None if answer.chosen is None else dataclasses.asdict(answer.chosen),
        'json': answer.json,
    }


def evidence_fields(evidence: Evidence) -> Json:
    """Returns what an answer was based on; ages are for the client, whose clock the stamps have."""
    return {
        'frames': [
            {'stamp_ns': each.stamp_ns, 'camera': each.camera, 'type': each.type.name.lower()}
            for each in evidence.frames
        ],
        'start_ns': evidence.start_ns,
        'end_ns': evidence.end_ns,
        'model_name': evidence.model_name,
        'model_digest': evidence.model_digest,
        'backend': evidence.backend,
        'precision': evidence.precision,
        'wait_ns': evidence.wait_ns,
        'first_token_ns': evidence.first_token_ns,
        'stop_reason': evidence.stop_reason.name,
        'is_truncated': evidence.is_truncated,
        'stats': dataclasses.asdict(evidence.stats),
    }


def _logprobs(tokens: Sequence[TokenLogprob]) -> Json:
    return {
        'content': [
            {**_token(each), 'top_logprobs': [_token(top) for top in each.top]} for each in tokens
        ],
        'refusal': None,
    }


def _token(token: TokenLogprob) -> Json:
    return {'token': token.token, 'logprob': token.logprob, 'bytes': list(token.content)}
