# SPDX-License-Identifier: Apache-2.0
"""Asks a served engine through LiteLLM and LangChain; a program for the python that has both, which
prints what they understood as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def with_litellm(url: str, key: str, model: str, content: Any) -> dict[str, Any]:
    import litellm

    asked = {
        'model': f'openai/{model}',
        'api_base': url,
        'api_key': key,
        'messages': [{'role': 'user', 'content': content}],
        'num_retries': 0,
    }
    answer = litellm.completion(**asked)
    chunks = list(litellm.completion(**asked, stream=True))
    rebuilt = litellm.stream_chunk_builder(chunks)
    try:
        litellm.completion(**{**asked, 'model': 'openai/another'})
        error = ''
    except litellm.NotFoundError as refused:
        error = type(refused).__name__
    return {
        'text': answer.choices[0].message.content,
        'streamed': rebuilt.choices[0].message.content,
        'tokens': answer.usage.total_tokens,
        'error': error,
    }


def with_langchain(url: str, key: str, model: str, content: Any) -> dict[str, Any]:
    from langchain_core.messages import HumanMessage, SystemMessage
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(base_url=url, api_key=key, model=model, max_retries=0, temperature=0)
    said = [SystemMessage('Be brief.'), HumanMessage(content)]
    answer = chat.invoke(said)
    streamed = ''.join(chunk.text for chunk in chat.stream(said))
    return {
        'text': answer.text,
        'streamed': streamed,
        'tokens': answer.usage_metadata['total_tokens'] if answer.usage_metadata else 0,
        'batch': [each.text for each in chat.batch([said, said])],
    }


if __name__ == '__main__':
    url, key, model, content = sys.argv[1:]
    arguments = url, key, model, json.loads(content)
    print(json.dumps([with_litellm(*arguments), with_langchain(*arguments)]))
