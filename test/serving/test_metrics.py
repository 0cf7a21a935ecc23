# SPDX-License-Identifier: Apache-2.0
"""What a server has done can be read by Prometheus."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

from support.live_pipeline import TEXT
from support.served_chat import ServedChat, image_part, picture, text_part


def test_requests_times_tokens_and_reuse_are_counted(tiny_checkpoint: Path) -> None:
    with ServedChat(tiny_checkpoint, text=TEXT) as served:
        shown = image_part(picture(7), 'seven')
        first = served.ask(shown, text_part('What?'))[1]['usage']
        again = served.ask(image_part(None, 'seven'), text_part('What?'))[1]['usage']
        assert served.ask(image_part(None, 'eight'), text_part('What?'))[0] == 400
        with urllib.request.urlopen(f'http://127.0.0.1:{served.port}/metrics') as response:
            assert response.headers['Content-Type'].startswith('text/plain; version=0.0.4')
            text = response.read().decode()
    values = dict(re.findall(r'^penguin_(\S+) ([\d.]+)$', text, re.MULTILINE))
    assert values['requests_total{outcome="200"}'] == '2'
    assert values['requests_total{outcome="400"}'] == '1'
    assert int(values['prompt_tokens_total']) == 2 * first['prompt_tokens']
    assert int(values['reused_tokens_total']) == again['prompt_tokens_details']['cached_tokens'] > 0
    assert int(values['generated_tokens_total']) == 2 * first['completion_tokens']
    assert (values['picture_hits_total'], values['picture_misses_total']) == ('1', '1')
    for name in ('queue_seconds', 'request_seconds'):  # the clock of this engine stands still
        assert values[f'{name}_count'] == values[f'{name}_bucket{{le="+Inf"}}'] == '2'
    assert values['in_flight'] == '0' and values['pictures_kept'] == '1'
