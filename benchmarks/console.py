# SPDX-License-Identifier: Apache-2.0
"""What the console costs and how late it is, beside a plain MJPEG stream in the same run.

The console is the real one, in a process of its own; `console_robot.py` stands for the robot, so
that no model takes the processor. Latency is measured in headless Chromium: pictures carry their
stamp as black and white cells, which a script reads from what is drawn, once per frame of the
screen, in the console's page and in the stream's alike. The first piece of an answer is the time at
which it was published; a plain action client hears the same. Processor time and memory are those
that the system counts for the console's process.

    source scripts/env.sh
    python benchmarks/console.py --seconds 30 --json console.json
    python benchmarks/console.py --minutes 10      # memory with viewers that come and go
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import psutil
from console_robot import BITS, CELL
from markdown_table import print_table

WAIT_S = 60.0
QUESTIONS = 40
ASK_EVERY_S = 1.1
ROUNDS = 2

WATCH = """
const [selector, cell, bits] = arguments;
window.measured = [];
const canvas = document.createElement('canvas');
canvas.width = 640; canvas.height = 8;
const pen = canvas.getContext('2d', { willReadFrequently: true });
let last = 0;
function read() {
  const image = document.querySelector(selector);
  if (image?.naturalWidth === 640) {
    pen.drawImage(image, 0, 4, 640, 8, 0, 0, 640, 8);
    const row = pen.getImageData(0, 4, 640, 1).data;
    const lit = (i) => (row[4 * (i * cell + cell / 2)] > 127 ? 1 : 0);
    let value = 0, ones = 0, sum = 0;
    for (let i = 0; i < bits; i++) { value = 2 * value + lit(4 + i); ones += lit(4 + i); }
    for (let i = 0; i < 8; i++) sum = 2 * sum + lit(4 + bits + i);
    if (lit(0) && !lit(1) && lit(2) && !lit(3) && sum === ones && value !== last) {
      last = value;
      window.measured.push(performance.timeOrigin + performance.now() - value);
    }
  }
  requestAnimationFrame(read);
}
read();
"""
FIRST = """
window.firsts = [];
new MutationObserver(() => {
  const text = document.getElementById('growing').textContent;
  if (/^[0-9]{19}$/.test(text) && text !== window.lastFirst) {
    window.lastFirst = text;
    const published = Number(BigInt(text) / 1000n) / 1000;
    window.firsts.push(performance.timeOrigin + performance.now() - published);
  }
}).observe(document.getElementById('growing'), { childList: true });
"""
LOADED = """
const page = performance.getEntriesByType('navigation')[0];
const files = performance.getEntriesByType('resource').filter(e => !e.name.includes('/frame'));
return [page.loadEventEnd, page.transferSize + files.reduce((sum, e) => sum + e.transferSize, 0)];
"""


class Bench:
    """The processes of one run: robot, console and stream, and the browser."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.folder = folder
        self._stack = stack
        self.port, self.stream_port = free_port(), free_port()
        self.url = f'http://127.0.0.1:{self.port}'
        self.start('robot', str(ROOT / 'benchmarks/console_robot.py'))
        words = ['-m', 'penguin_ros.cli.entry', 'console', '--port', str(self.port)]
        self.console = psutil.Process(self.start('console', *words).pid)
        self.start('stream', str(ROOT / 'benchmarks/console_mjpeg.py'), str(self.stream_port))
        self.address()

    def start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        """Starts a Python program that ends with the run; its output goes to the folder."""
        with (self.folder / f'{name}.log').open('wb') as log:
            process = subprocess.Popen(
                [sys.executable, *words], stdout=log, stderr=subprocess.STDOUT
            )
        self._stack.callback(end, process)
        return process

    def address(self) -> str:
        """Waits for an address of the console that was not used yet, and returns it."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            found = re.findall(r'Open (\S+)', (self.folder / 'console.log').read_text())
            if found:
                return str(found[-1])
            time.sleep(0.1)
        raise SystemExit((self.folder / 'console.log').read_text())

    def cookie(self) -> str:
        """Logs in and returns the cookie."""
        import http.client

        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=WAIT_S)
        connection.request('GET', self.address().removeprefix(self.url))
        return str(connection.getresponse().headers['Set-Cookie']).partition(';')[0]

    def share(self, seconds: float) -> float:
        """Returns the part of one core that the console's process takes for so long, in percent."""
        before, start = sum(self.console.cpu_times()[:2]), time.monotonic()
        time.sleep(seconds)
        return 100 * (sum(self.console.cpu_times()[:2]) - before) / (time.monotonic() - start)

    @contextmanager
    def viewers(self, what: str, count: int, seconds: float) -> Iterator[subprocess.Popen[str]]:
        """Runs viewers in a process of their own."""
        words = [str(ROOT / 'benchmarks/console_viewers.py'), self.url, self.cookie(), what]
        process = subprocess.Popen(
            [sys.executable, *words, str(count), str(seconds)], stdout=subprocess.PIPE, text=True
        )
        try:
            yield process
        finally:
            process.wait()


def free_port() -> int:
    """Returns a port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


def end(process: subprocess.Popen[bytes]) -> None:
    """Interrupts a process and waits for its end."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def browser() -> Any:
    """Returns Chromium without a screen."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = shutil.which('chromium') or ''
    for argument in ('headless=new', 'no-sandbox', 'disable-dev-shm-usage', 'disable-gpu'):
        options.add_argument(f'--{argument}')
    driver = Chrome(options=options, service=Service(shutil.which('chromedriver')))
    driver.set_window_size(1440, 1000)
    return driver


def pictures(driver: Any, address: str, selector: str, seconds: float) -> list[float]:
    """Returns how old pictures were when they were drawn, in milliseconds."""
    driver.get(address)
    time.sleep(5.0)  # the camera is found and asked for
    driver.execute_script(WATCH, selector, CELL, BITS)
    time.sleep(seconds)
    return [float(value) for value in driver.execute_script('return window.measured')]


def firsts(driver: Any) -> list[float]:
    """Asks again and again; returns how late the first piece was on the page, in milliseconds."""
    driver.execute_script(FIRST)
    for number in range(QUESTIONS):
        driver.execute_script(
            'document.getElementById("question").value = arguments[0];'
            'document.getElementById("ask").requestSubmit()',
            f'question {number}',
        )
        time.sleep(ASK_EVERY_S)
    return [float(value) for value in driver.execute_script('return window.firsts')]


def plain_firsts() -> list[float]:
    """Returns the same for a plain action client."""
    import rclpy
    from penguin_msgs.action import AnswerQuestion
    from rclpy.action import ActionClient

    rclpy.init()
    node = rclpy.create_node('bench_client')
    client, heard = ActionClient(node, AnswerQuestion, '/bench_robot/answer_question'), []
    client.wait_for_server(timeout_sec=WAIT_S)

    def on_piece(message: Any) -> None:
        if message.feedback.sequence == 0:
            heard.append((time.time_ns() - int(message.feedback.text)) / 1e6)

    for _ in range(QUESTIONS):
        asked = client.send_goal_async(
            AnswerQuestion.Goal(question='q'), feedback_callback=on_piece
        )
        rclpy.spin_until_future_complete(node, asked, timeout_sec=WAIT_S)
        result = asked.result().get_result_async()
        rclpy.spin_until_future_complete(node, result, timeout_sec=WAIT_S)
    node.destroy_node()
    rclpy.shutdown()
    return heard


def row(what: str, values: list[float]) -> dict[str, object]:
    """Returns a row with the middle and the 95th percentile."""
    ordered = sorted(values)
    return {
        'what': what,
        'count': len(values),
        'p50 [ms]': statistics.median(ordered),
        'p95 [ms]': ordered[int(0.95 * (len(ordered) - 1))],
    }


def latency(bench: Bench, seconds: float) -> list[dict[str, object]]:
    """Measures pictures in both pages by turns, then first pieces."""
    driver = browser()
    try:
        stream, console = list[float](), list[float]()
        for _ in range(ROUNDS):
            stream += pictures(
                driver, f'http://127.0.0.1:{bench.stream_port}/', '#stream', seconds / ROUNDS
            )
            console += pictures(driver, bench.address(), '#cameras img', seconds / ROUNDS)
        milliseconds, size = driver.execute_script(LOADED)
        print(f'page loaded after {milliseconds:.0f} ms, {size / 1000:.0f} kB', flush=True)
        first = firsts(driver)
    finally:
        driver.quit()
    return [
        row('picture, plain MJPEG stream', stream),
        row('picture, console', console),
        row('first piece, plain action client', plain_firsts()),
        row('first piece, console', first),
    ]


def costs(bench: Bench, seconds: float) -> list[dict[str, object]]:
    """Measures processor and bytes with 0, 1 and 10 viewers."""
    time.sleep(15.0)  # until everybody has found everybody
    rows = [{'viewers': 0, 'core [%]': bench.share(seconds), 'pictures/s': 0.0, 'kB/s each': 0.0}]
    for count in (1, 10):
        with bench.viewers('watch', count, seconds + 4.0) as process:
            time.sleep(2.0)
            share = bench.share(seconds)
            told = json.loads(process.communicate()[0])
        lasted = seconds + 4.0
        rows.append(
            {
                'viewers': count,
                'core [%]': share,
                'pictures/s': sum(one[0] for one in told) / count / lasted,
                'kB/s each': sum(one[1] + one[2] for one in told) / count / lasted / 1000,
            }
        )
    return rows


def growth(bench: Bench, minutes: float) -> list[dict[str, object]]:
    """Measures the memory of the console while viewers come and go."""
    rows = []
    with bench.viewers('come_and_go', 8, 60 * minutes) as process:
        start = time.monotonic()
        while process.poll() is None:
            minute = (time.monotonic() - start) / 60
            files = bench.console.num_fds()
            memory = bench.console.memory_info().rss / 2**20
            rows.append({'minute': minute, 'MiB': memory, 'open files': files})
            time.sleep(min(30.0, 6 * minutes))
        came = sum(json.loads(process.communicate()[0]))
    print(f'{came} viewers came and went')
    return rows


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--seconds', type=float, default=30.0, help='how long each value takes')
    parser.add_argument(
        '--minutes', type=float, help='measure memory for so long, and nothing else'
    )
    parser.add_argument('--json', type=Path, help='write all rows there')
    given = parser.parse_args()
    os.environ.setdefault('ROS_DOMAIN_ID', '55')
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        bench = Bench(stack, Path(name))
        print('load of the machine', os.getloadavg(), 'on', os.cpu_count(), 'cores', flush=True)
        tables: list[list[dict[str, object]]] = []
        if given.minutes:
            tables.append(growth(bench, given.minutes))
        else:
            tables += [costs(bench, given.seconds), latency(bench, given.seconds)]
        print('load of the machine', os.getloadavg())
        for table in tables:
            print_table(table)
        if given.json:
            given.json.write_text(json.dumps(tables))


if __name__ == '__main__':
    main()
