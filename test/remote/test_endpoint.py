# SPDX-License-Identifier: Apache-2.0
"""The setting of endpoints: what it takes, and that keys stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from penguin_ros.errors import SettingError
from penguin_ros.remote.endpoint import endpoints_of, is_loopback


def test_endpoints_keep_their_order_and_their_options(tmp_path: Path) -> None:
    key = tmp_path / 'key'
    key.write_text('s3cret\n')
    text = (
        f'lab=https://lab.example:8443/v1/,model=big,dialect=images,key_file={key} '
        'spare=http://127.0.0.1:8000,key_env=SPARE_KEY'
    )
    lab, spare = endpoints_of(text, False, {'SPARE_KEY': 'other'})
    assert (lab.name, lab.url, lab.model, lab.dialect) == (
        'lab',
        'https://lab.example:8443',
        'big',
        'images',
    )
    assert lab.path('/v1/models') == 'https://lab.example:8443/v1/models'
    assert (lab.key, spare.key) == ('s3cret', 'other')
    assert 's3cret' not in repr(lab) and 'other' not in repr(spare)
    assert endpoints_of('  ', False) == ()


@pytest.mark.parametrize(
    ('text', 'named'),
    [
        ('https://lab', 'NAME=URL'),
        ('lab=lab:8000', 'no valid URL'),
        ('lab=ftp://lab', 'no valid URL'),
        ('lab=http://lab:port', 'no valid URL'),
        ('lab=http://lab:8000', 'plain http'),
        ('lab=http://192.168.0.7:8000', 'plain http'),
        ('lab=https://me:pa55@lab', 'password'),
        ('lab=https://lab?key=pa55', 'query'),
        ('lab=https://lab,key=pa55', 'key_file'),
        ('lab=https://lab,dialect=latin', 'penguin'),
        ('lab=https://lab,key_env=NOT_SET', 'NOT_SET'),
        ('lab=https://lab,key_file=/nowhere', '/nowhere'),
        ('lab=https://lab,ca_file=/nowhere', '/nowhere'),
        ('lab=https://lab lab=https://other', 'twice'),
        (' '.join(f'lab{n}=https://lab' for n in range(17)), '16'),
    ],
)
def test_what_does_not_fit_is_named_without_secrets(text: str, named: str) -> None:
    with pytest.raises(SettingError, match=named) as caught:
        endpoints_of(text, False, {})
    assert 'pa55' not in str(caught.value)


def test_plain_http_beyond_this_machine_has_to_be_allowed() -> None:
    assert endpoints_of('lab=http://lab:8000', True, {})[0].url == 'http://lab:8000'


def test_a_key_that_would_break_a_header_is_refused_and_not_shown(tmp_path: Path) -> None:
    for content in ('', 'two words', 'line\nsecretline', 'schlüssel'):
        (tmp_path / 'key').write_text(content)
        with pytest.raises(SettingError) as caught:
            endpoints_of(f'lab=https://lab,key_file={tmp_path / "key"}', False, {})
        assert 'secretline' not in str(caught.value)


@pytest.mark.parametrize(
    ('host', 'is_it'),
    [('localhost', True), ('127.8.0.1', True), ('::1', True), ('10.0.0.1', False), ('lab', False)],
)
def test_loopback_is_told_by_its_address(host: str, is_it: bool) -> None:
    assert is_loopback(host) is is_it
