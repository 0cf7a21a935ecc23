# SPDX-License-Identifier: Apache-2.0
"""The console in a real browser over real topics: a simulated camera, the node with the included
small model, the console's process, and Chromium without a screen; Firefox too where it is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('aiohttp', reason='the console needs aiohttp')
pytest.importorskip('selenium', reason='selenium drives the browser')
pytest.importorskip('mujoco', reason='the simulated camera needs mujoco')

from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys
from support.browsed_console import CHROMIUM, DESKTOP, DRIVER, Console
from support.firefox import ENTER, FIREFOX, Firefox
from support.graph import Domain

from penguin_ros.ros.process.node_process import NodeProcess

pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason='no chromium with chromedriver here'),
    pytest.mark.timeout(280),
]
PHONE, WALL = (390, 844), (3840, 2160)
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script> \x1b[31mred'
AXE = (
    'axe.run().then(r => r.violations.map('
    'v => v.id + ": " + v.nodes.map(n => n.target.join(" ")).slice(0, 3).join(", ")))'
)


@pytest.fixture(scope='module')
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with pytest.MonkeyPatch.context() as patch:
        domain = Domain()
        patch.setenv('ROS_DOMAIN_ID', str(domain.number))
        made = Console(tmp_path_factory.mktemp('console'))
        made.start()
        yield made
        made.stop()
        domain.close()


def test_the_page_shows_the_camera_with_its_newest_caption(console: Console) -> None:
    console.until(lambda: console.text('.over') and console.all('#line > li'))
    picture = console.all('#cameras img')[0]
    first = console.until(lambda: picture.get_attribute('data-stamp'))
    console.until(lambda: picture.get_attribute('data-stamp') != first)
    assert console.browser.execute_script('return arguments[0].naturalWidth', picture) > 100
    entries = console.browser.execute_script(
        'return performance.getEntriesByType("navigation")[0].loadEventEnd'
    )
    assert entries > 0
    loaded = console.browser.execute_script(
        'return performance.getEntriesByType("resource").filter(e => !e.name.includes("/frame"))'
        '.reduce((sum, e) => sum + e.transferSize, 0)'
    )
    assert 0 < loaded < 300_000, 'everything that the page loads'


def test_a_question_is_answered_with_the_frames_that_it_saw(console: Console) -> None:
    console.until(lambda: console.all('#camera option'))
    question = console.all('#question')[0]
    question.send_keys('How many things are there?', Keys.ENTER)
    console.until(lambda: console.all('#answer .strip li'))
    assert console.text('#growing').strip()
    for words in ('tokens read', 'known already', 'prefill', 'penguin_sim'):
        assert words in console.text('#answer')
    shown = 'return [...document.querySelectorAll("#answer .strip img")].every(i => i.naturalWidth)'
    console.until(lambda: console.browser.execute_script(shown))
    question.clear()


def test_a_question_about_the_last_seconds_has_choices_with_probabilities(console: Console) -> None:
    for name, text in (('last', '2'), ('choices', 'yes, no'), ('question', 'Is there a box?')):
        console.all(f'#{name}')[0].send_keys(text)
    console.all('#question')[0].send_keys(Keys.ENTER)
    console.until(lambda: re.search(r'yes \d+\.\d %, no \d+\.\d %', console.text('#answer')))
    before = re.findall(r'−(\d+\.\d) s', console.text('#answer .strip'))
    assert all(float(seconds) <= 2.1 for seconds in before)
    for name in ('last', 'choices', 'question'):
        console.all(f'#{name}')[0].clear()


def test_a_rule_is_set_fires_shows_its_probability_and_is_changed(console: Console) -> None:
    console.all('#new-rule summary')[0].click()
    console.browser.execute_script('document.querySelector("#rule-form details").open = true')
    given = {'id': 'box', 'condition': 'Is there a box?', 'period': '0.5'}
    given |= {'threshold_begin': '0.01', 'threshold_end': '0.01'}
    given |= {'confirm_count': '1', 'confirm_window': '1'}
    for name, text in given.items():
        console.all(f'#rule-form [name={name}]')[0].send_keys(text)
    console.all('#rule-form button[type=submit]')[0].click()
    console.until(lambda: 'set' in console.text('#rule-told'))
    told = 'box begins: Is there a box?'
    console.until(lambda: any(told in item.text for item in console.all('#line .text')))
    chart = console.until(lambda: console.all('#rules svg'))[0]
    assert re.search(r'in \d+ evaluations over', chart.get_attribute('aria-label'))
    assert re.search(r'[01]\.\d\d at ', console.text('#rules .rule'))
    change = console.all('#rules button[aria-label^=change]')[0]
    told = console.text('#rules .rule .row')
    console.until(lambda: console.text('#rules .rule .row') != told)
    console.browser.execute_script('document.querySelector("#rule-form").reset()')
    change.click()  # the button that was there before the news
    value = 'return document.querySelector("#rule-form [name=threshold_begin]").value'
    console.until(lambda: console.browser.execute_script(value) == '0.01')
    condition = console.all('#rule-condition')[0]
    condition.clear()
    condition.send_keys('Is there a ball?')
    console.all('#rule-form button[type=submit]')[0].click()
    console.until(lambda: 'changed' in console.text('#rule-told'))
    console.until(lambda: 'Is there a ball?' in console.text('#rules .rule'))


def test_the_time_line_is_searched(console: Console) -> None:
    search = console.all('#search')[0]
    search.send_keys('nothing like that')
    console.until(lambda: not console.all('#line > li'))
    search.clear()
    search.send_keys('How many')
    console.until(lambda: 'How many things' in console.text('#line'))
    search.clear()
    search.send_keys(' ', Keys.BACKSPACE)
    console.until(lambda: console.all('#line li[data-kind=caption]'))


def test_health_says_what_is_well_and_who_answers(console: Console) -> None:
    console.until(lambda: 'parts are well' in console.text('#health'))
    assert 'penguin_sim' in console.text('#health') and 'on ' in console.text('#health')


def test_a_hostile_caption_stays_text(console: Console, ros_domain_of: Any) -> None:
    publish = ros_domain_of(console)
    publish(HOSTILE)
    console.until(lambda: any('<script>' in item.text for item in console.all('#line .text')))
    assert console.browser.title == 'penguin console'
    assert not console.all('#line script') and not console.all('#line img[src=x]')
    assert '\x1b' not in console.text('#line')


@pytest.fixture
def ros_domain_of() -> Iterator[Callable[[Console], Callable[[str], None]]]:
    """Publishes captions as the node would, with another voice."""
    import rclpy
    from penguin_msgs.msg import Caption

    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    node = rclpy.create_node('another_voice', context=context)
    publisher = node.create_publisher(Caption, '/penguin/caption', 10)

    def voice(console: Console) -> Callable[[str], None]:
        def publish(text: str) -> None:
            console.until(lambda: publisher.get_subscription_count() > 0)
            publisher.publish(Caption(camera='camera', text=text))

        return publish

    yield voice
    node.destroy_node()
    context.try_shutdown()


def test_everything_is_reached_with_the_keyboard_alone(console: Console) -> None:
    console.browser.execute_script('document.querySelector(".skip").focus()')
    wanted = {'question', 'camera', 'last', 'choices', 'line', 'search', 'load-parameters'}
    for _ in range(100):
        ActionChains(console.browser).send_keys(Keys.TAB).perform()
        wanted.discard(console.browser.execute_script('return document.activeElement.id'))
        if not wanted:
            break
    assert not wanted, 'nothing else than the tabulator is needed'
    console.all('#line')[0].send_keys(Keys.ARROW_DOWN)
    summary = console.browser.switch_to.active_element
    assert summary.tag_name == 'summary'
    summary.send_keys(Keys.ENTER)
    console.until(lambda: console.all('#line details[open] .bar'))


def axe_source() -> str:
    axe = pytest.importorskip('axe_core_python', reason='axe-core comes with axe-core-python')
    (script,) = Path(axe.__file__).parent.glob('axe.min.js')
    return script.read_text()


@pytest.mark.parametrize(
    ('size', 'scheme'),
    [
        pytest.param(DESKTOP, 'light', id='desktop light'),
        pytest.param(PHONE, 'dark', id='phone dark'),
        pytest.param(DESKTOP, 'dark', id='desktop dark', marks=pytest.mark.slow),
        pytest.param(PHONE, 'light', id='phone light', marks=pytest.mark.slow),
        pytest.param(WALL, 'dark', id='wall dark', marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing(console: Console, size: tuple[int, int], scheme: str) -> None:
    console.browser.set_window_size(*size)
    features = [{'name': 'prefers-color-scheme', 'value': scheme}]
    console.browser.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': features})
    console.browser.execute_script(axe_source())
    found = console.browser.execute_async_script(f'{AXE}.then(arguments[0])')
    assert found == []
    width = console.browser.execute_script('return document.documentElement.scrollWidth')
    assert width <= size[0], 'nothing is wider than the window'
    console.browser.set_window_size(*DESKTOP)


def test_parameters_show_their_ranges_and_change(console: Console) -> None:
    console.all('#load-parameters')[0].click()
    field = console.until(lambda: console.all('input[aria-label="caption.period"]'))[0]
    field.clear()
    field.send_keys('2', Keys.TAB)
    console.until(lambda: 'caption.period is 2' in console.text('#parameter-told'))
    field.clear()
    field.send_keys('-5', Keys.TAB)
    console.until(lambda: console.all('#parameter-told.error'))


@pytest.mark.slow
def test_a_read_only_page_offers_no_question_and_no_change(console: Console) -> None:
    other = console.beside('--read-only')
    try:
        console.browser.switch_to.new_window('tab')
        console.browser.get(other.address())
        console.until(lambda: console.all('body.read-only'))
        for selector in ('#ask [type=submit]', '#rule-form [type=submit]', '#rule-test'):
            assert not console.all(selector)[0].is_enabled()
        console.until(lambda: console.all('#cameras img[data-stamp]'))
        console.all('#load-parameters')[0].click()
        console.until(lambda: console.all('#parameters input'))
        assert not any(field.is_enabled() for field in console.all('#parameters input'))
        other.process.kill()  # nobody else notices
        console.browser.close()
    finally:
        other.end()
        console.browser.switch_to.window(console.browser.window_handles[0])
    stamp = console.all('#cameras img')[0].get_attribute('data-stamp')
    picture = console.all('#cameras img')[0]
    console.until(lambda: picture.get_attribute('data-stamp') != stamp)


@pytest.mark.slow
def test_firefox_shows_asks_and_reads_out_the_same_page(console: Console, tmp_path: Path) -> None:
    if FIREFOX is None:
        pytest.skip('no Firefox here')
    firefox = Firefox(tmp_path)
    try:
        firefox.size(*DESKTOP)
        firefox.open(console.address())
        moved = 'document.querySelector("#cameras img")?.dataset.stamp'
        first = console.until(lambda: firefox.value(moved))
        console.until(lambda: firefox.value(moved) != first)
        firefox.value('document.getElementById("question").focus()')
        firefox.type('How many things are there?' + ENTER)
        pictures = '[...document.querySelectorAll("#answer .strip img")].map(i => i.naturalWidth)'
        console.until(lambda: (found := firefox.value(pictures)) and all(found))
        assert firefox.value('document.getElementById("growing").textContent').strip()
        firefox.run(axe_source())
        assert firefox.value(AXE) == []
    finally:
        firefox.close()


@pytest.mark.slow
def test_a_memory_that_runs_is_recalled_with_its_pictures(console: Console, tmp_path: Path) -> None:
    memory = NodeProcess(
        'memory_node',
        tmp_path,
        {'folder': str(tmp_path / 'memory'), 'use_sim_time': True, 'picture.enabled': True},
        {},
    )
    memory.start()
    try:
        console.until(lambda: console.all('#recall-section:not([hidden])'))

        shown = 'return [...document.querySelectorAll("#recalled img")].some(i => i.naturalWidth)'
        asked = 0.0

        def found() -> bool:
            nonlocal asked
            if time.monotonic() - asked > 5.0:  # pictures need a moment
                asked = time.monotonic()
                console.all('#recall button')[0].click()
            return bool(console.browser.execute_script(shown))

        console.until(found)
        assert 'camera' in console.text('#recalled')
        last = console.all('#recall-last')[0]
        last.send_keys('1')
        console.all('#recall button')[0].click()
        console.until(lambda: re.match(r'\d+ found', console.text('#recall-told')))
    finally:
        memory.stop()
    console.until(lambda: not console.all('#recall-section:not([hidden])'))


@pytest.mark.slow
def test_a_node_that_is_killed_is_told_and_found_again(console: Console) -> None:
    console.node.stop()
    console.until(lambda: 'no penguin node' in console.text('#connection'))
    console.until(lambda: 'is gone' in console.text('#cameras'))
    console.node.start()
    console.until(lambda: '/penguin' in console.text('#connection'))
    console.browser.execute_script('window.scrollTo(0, 0)')  # pictures out of sight do not move
    picture = console.all('#cameras img')[0]
    stamp = picture.get_attribute('data-stamp')
    console.until(lambda: picture.get_attribute('data-stamp') != stamp)
    console.until(lambda: 'OK' in console.text('#cameras figcaption'))


def test_a_console_that_is_started_again_asks_for_its_new_address(console: Console) -> None:
    text = console.log.read_text()
    assert len(re.findall('Open http', text)) >= 2, 'a used address was replaced'
    console.browser.delete_all_cookies()
    console.browser.get(re.findall(r'Open (\S+)', text)[0])
    assert 'token' in console.text('body')
