# SPDX-License-Identifier: Apache-2.0
"""Arguments of launch files: what users write becomes values, or an error that names it."""

from __future__ import annotations

import pytest

from penguin_ros.errors import SettingError
from penguin_ros.ros.process.launch_arguments import LaunchArguments, node_namespace


def written(**values: str) -> LaunchArguments:
    return LaunchArguments(values.__getitem__)


@pytest.mark.parametrize('text', ['true', 'True', 'TRUE', ' yes ', 'On', '1'])
def test_a_yes_is_a_yes_in_every_usual_spelling(text: str) -> None:
    assert written(flag=text).boolean('flag') is True


@pytest.mark.parametrize('text', ['false', 'False', 'no', 'OFF', '0'])
def test_a_no_is_a_no_in_every_usual_spelling(text: str) -> None:
    assert written(flag=text).boolean('flag') is False


def test_what_is_left_empty_has_no_value() -> None:
    empty = written(a=' ')
    assert empty.boolean('a') is empty.integer('a') is empty.number('a') is None
    assert empty.text('a') == empty.path('a') == empty.file('a') == empty.log_level('a') == ''
    assert empty.cameras('a') == {}


def test_only_arguments_that_are_given_become_parameters_and_a_false_or_a_zero_is_given() -> None:
    some = written(off='false', none=' ', zero='0', names=' front, ,rear ,', empty=',')
    assert some.given(some.boolean, {'off': 'a.off', 'none': 'a.none'}) == {'a.off': False}
    assert some.given(some.integer, {'zero': 'a.zero', 'none': 'a.none'}) == {'a.zero': 0}
    lists = {'names': 'a.names', 'empty': 'a.empty'}
    assert some.given(some.names, lists) == {'a.names': ['front', 'rear']}


@pytest.mark.parametrize(
    ('text', 'level'),
    [('DEBUG', 'debug'), ('Warning', 'warn'), ('penguin:=Info', 'penguin:=info'), ('fatal',) * 2],
)
def test_levels_are_taken_in_any_case_and_for_one_logger(text: str, level: str) -> None:
    assert written(log_level=text).log_level('log_level') == level


@pytest.mark.parametrize('text', ['maybe', '2', 'wahr'])
def test_what_is_neither_yes_nor_no_is_refused_by_the_name_of_the_argument(text: str) -> None:
    with pytest.raises(SettingError, match=f'respawn:={text}: it takes true or false'):
        written(respawn=text).boolean('respawn')


@pytest.mark.parametrize('text', ['abc', '1.5', '0x'])
def test_what_is_no_whole_number_is_refused_by_the_name_of_the_argument(text: str) -> None:
    with pytest.raises(SettingError, match=f'seed:={text}: it takes a whole number'):
        written(seed=text).integer('seed')


@pytest.mark.parametrize('text', ['nan', 'inf', '-1', 'x'])
def test_a_number_is_finite_and_not_negative(text: str) -> None:
    with pytest.raises(SettingError, match=f'respawn_delay:={text}'):
        written(respawn_delay=text).number('respawn_delay')


def test_numbers_are_read_with_and_without_a_point() -> None:
    assert written(f='2').number('f') == 2.0 and written(f=' .5').number('f') == 0.5


@pytest.mark.parametrize(
    ('text', 'advice'),
    [
        ('/front/image_raw', 'Type: cameras:=front=/front/image_raw'),
        ('front=/a,/rear/image', 'Type: cameras:=rear=/rear/image'),
        ('1st', "'1st' is no name of a camera"),
        ('front=', 'no topic after front='),
        ('front,front=/b', 'front occurs twice'),
    ],
)
def test_cameras_that_cannot_be_meant_are_told_in_the_form_of_the_argument(
    text: str, advice: str
) -> None:
    with pytest.raises(SettingError, match=advice):
        written(cameras=text).cameras('cameras')


def test_a_file_that_is_not_there_or_is_a_folder_is_refused(tmp_path: object) -> None:
    with pytest.raises(SettingError, match=r'params_file:=typo\.yaml: there is no such file'):
        written(params_file='typo.yaml').file('params_file')
    with pytest.raises(SettingError, match='it is a folder'):
        written(params_file=str(tmp_path)).file('params_file')


def test_a_tilde_of_nobody_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', '/home/me')
    assert written(bundle='~/b').path('bundle') == '/home/me/b'
    assert written(bundle='~no_such_user_/b').path('bundle') == '~no_such_user_/b'


@pytest.mark.parametrize(
    ('given', 'pushed', 'used'),
    [
        ('robot', '', 'robot'),
        ('robot', '/robot', ''),
        ('a/b', '/x/a/b', ''),
        ('bot', '/robot', 'bot'),
        ('arm', '/robot', 'arm'),
        ('/robot', '/robot', '/robot'),
        ('', '/robot', ''),
    ],
)
def test_a_relative_namespace_that_is_pushed_already_is_not_added_again(
    given: str, pushed: str, used: str
) -> None:
    assert node_namespace(given, pushed) == used
