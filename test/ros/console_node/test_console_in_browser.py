# SPDX-License-Identifier: Apache-2.0
"""The console in a real browser over real topics: a simulated camera, the node with the included
small model, the console's process, and Chromium without a screen.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('aiohttp', reason='the console needs aiohttp')
pytest.importorskip('selenium', reason='selenium drives the browser')
pytest.importorskip('mujoco', reason='the simulated camera needs mujoco')

from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from support.graph import Domain

from penguin_ros.demo.included_model import included_model
from penguin_ros.ros.process.node_process import NodeProcess

CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
DRIVER = shutil.which('chromedriver')
pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason='no chromium with chromedriver here'),
    pytest.mark.timeout(280),
]
WAIT_S = 120.0
DESKTOP, PHONE = (1440, 1000), (390, 844)
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script> \x1b[31mred'
NODE = {'caption.period': 1.0, 'use_sim_time': True, 'model.threads': 1}


class Console:
    """The processes, and the browser that shows the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        model = {f'model.{key}': value for key, value in included_model(()).items()}
        self.node = NodeProcess(
            'penguin_node', folder, {**NODE, **model, 'rule.file': str(folder / 'rules.yaml')}, {}
        )
        self.camera = NodeProcess('sim_camera', folder, {'seed': 3}, {})
        self.log = folder / 'console.log'
        self.browser: Any = None

    def start(self) -> None:
        self.camera.start()
        self.node.start()
        command = [sys.executable, '-m', 'penguin_ros.cli.entry', 'console', '--port', free_port()]
        with self.log.open('wb') as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        options = ChromeOptions()
        options.binary_location = CHROMIUM or ''
        for argument in ('headless=new', 'no-sandbox', 'disable-dev-shm-usage', 'disable-gpu'):
            options.add_argument(f'--{argument}')
        self.browser = Chrome(options=options, service=Service(DRIVER))
        self.browser.set_window_size(*DESKTOP)
        self.open()

    def open(self) -> None:
        """Opens the newest address that was printed."""
        self.until(lambda: 'Open http' in self.log.read_text())
        self.browser.get(re.findall(r'Open (\S+)', self.log.read_text())[-1])

    def stop(self) -> None:
        if self.browser is not None:
            self.browser.quit()
        self.process.terminate()
        self.process.wait(20)
        self.node.stop()
        self.camera.stop()

    def all(self, selector: str) -> list[Any]:
        return list(self.browser.find_elements(By.CSS_SELECTOR, selector))

    def text(self, selector: str) -> str:
        return str(self.browser.find_element(By.CSS_SELECTOR, selector).text)

    def until(self, condition: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
        end = time.monotonic() + timeout_s
        while True:
            try:
                found = condition()
            except Exception as error:  # an element that was replaced meanwhile
                found, last = None, error
            else:
                last = None
            if found:
                return found
            if time.monotonic() > end:
                tail = self.node.tail() + self.log.read_text()[-500:]
                raise AssertionError(f'it did not come: {last}\n{tail}')
            time.sleep(0.1)


def free_port() -> str:
    import socket

    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


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
    assert 'tokens read' in console.text('#answer')
    shown = 'return [...document.querySelectorAll("#answer .strip img")].some(i => i.naturalWidth)'
    console.until(lambda: console.browser.execute_script(shown))
    question.clear()


def test_choices_come_with_their_probabilities(console: Console) -> None:
    console.all('#choices')[0].send_keys('yes, no')
    console.all('#question')[0].send_keys('Is there a box?', Keys.ENTER)
    console.until(lambda: re.search(r'yes \d+\.\d %, no \d+\.\d %', console.text('#answer')))
    for name in ('#choices', '#question'):
        console.all(name)[0].clear()


def test_a_rule_is_set_fires_and_shows_with_its_probability(console: Console) -> None:
    console.all('#new-rule summary')[0].click()
    for name, text in (('id', 'anything'), ('condition', 'Is there anything?'), ('period', '1')):
        console.all(f'#rule-{name}')[0].send_keys(text)
    console.all('#rule-form button[type=submit]')[0].click()
    console.until(lambda: 'set' in console.text('#rule-told'))
    console.until(lambda: console.all('#rules .rule'))
    console.until(
        lambda: 'in 2 evaluations' in console.all('#rules svg')[0].get_attribute('aria-label')
    )
    row = console.text('#rules .rule')
    assert 'anything' in row and re.search(r'[01]\.\d\d at ', row)


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
    reached = set()
    for _ in range(40):
        ActionChains(console.browser).send_keys(Keys.TAB).perform()
        reached.add(console.browser.execute_script('return document.activeElement.id'))
    assert reached >= {'question', 'camera', 'last', 'choices', 'line', 'search', 'load-parameters'}
    console.all('#line')[0].send_keys(Keys.ARROW_DOWN)
    summary = console.browser.switch_to.active_element
    assert summary.tag_name == 'summary'
    summary.send_keys(Keys.ENTER)
    console.until(lambda: console.all('#line details[open] .bar'))


@pytest.mark.parametrize('size', [DESKTOP, PHONE], ids=['desktop', 'phone'])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_axe_finds_nothing(console: Console, size: tuple[int, int], scheme: str) -> None:
    axe = pytest.importorskip('axe_core_python', reason='axe-core comes with axe-core-python')
    (script,) = Path(axe.__file__).parent.glob('axe.min.js')
    console.browser.set_window_size(*size)
    features = [{'name': 'prefers-color-scheme', 'value': scheme}]
    console.browser.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': features})
    console.browser.execute_script(script.read_text())
    found = console.browser.execute_async_script(
        'const done = arguments[0]; axe.run().then(r => done(r.violations.map('
        'v => v.id + ": " + v.nodes.map(n => n.target.join(" ")).slice(0, 3).join(", "))))'
    )
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
