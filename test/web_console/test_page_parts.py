# SPDX-License-Identifier: Apache-2.0
"""Parts of the page in Chromium: what they keep, and what they do when others change the robot."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip('aiohttp', reason='the console needs aiohttp')
pytest.importorskip('selenium', reason='selenium drives the browser')

from support.page_parts import CHROMIUM, DRIVER, PageParts

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason='no chromium with chromedriver here'
)


@pytest.fixture(scope='module')
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageParts]:
    made = PageParts(tmp_path_factory.mktemp('page'))
    yield made
    made.close()


def test_a_picture_that_a_newer_one_replaced_is_not_kept(parts: PageParts) -> None:
    kept = parts.run("""
        const { Cameras } = await import("/cameras.js");
        const [create, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
        const kept = new Set();
        URL.createObjectURL = (blob) => { const url = create.call(URL, blob); kept.add(url); return url; };
        URL.revokeObjectURL = (url) => { revoke.call(URL, url); kept.delete(url); };
        const drawn = [];
        const cameras = new Cameras({ send: (name, fields) => name === "drawn" && drawn.push(fields.number) });
        cameras.view("/penguin", "front");
        const blob = await (await fetch("/icon.svg")).blob();
        for (let number = 1; number <= 20; number++) {
          cameras.show({ node: "/penguin", camera: "front", stamp: "5" }, blob, number);
        }
        while (!drawn.includes(20)) await new Promise((go) => setTimeout(go, 5));
        return kept.size;
    """)  # noqa: E501
    assert kept == 0


RULES = """
    const { Rules } = await import("/rules.js");
    const known = [{ id: "door", condition: "Is the door open?" }];
    const replies = { rules: () => ({ rules: known.map((rule) => ({ ...rule })) }), series: () => ({ series: [] }) };
    const connection = { ask: (name) => ({ reply: Promise.resolve(replies[name]()) }) };
    const rules = new Rules(connection, { chosen: () => ({ node: "/penguin", camera: "front" }) });
    const state = ({ id }) => ({ rule: id, camera: "front", state: 0, probability: 0.5, evaluated: "0", reason: "" });
    const show = async () => {
      await rules.show({ node: "/penguin", rule_states: { states: known.map(state) } });
      await new Promise((go) => setTimeout(go, 20));
    };
    await show();
"""  # noqa: E501


def test_a_rule_that_somebody_else_has_set_has_its_condition(parts: PageParts) -> None:
    told = parts.run(
        RULES
        + """
        known.push({ id: "box", condition: "Is there a box?" });
        await show();
        await rules.edit("/penguin", "box");
        return [document.getElementById("rules").textContent, rules.form.elements.condition.value];
        """
    )
    assert 'Is there a box?' in told[0] and told[1] == 'Is there a box?'


def test_a_rule_that_somebody_else_has_changed_is_changed_as_it_is_now(parts: PageParts) -> None:
    told = parts.run(
        RULES
        + """
        known[0].condition = "Is the gate open?";
        await rules.edit("/penguin", "door");
        await show();
        return [document.getElementById("rules").textContent, rules.form.elements.condition.value];
        """
    )
    assert 'Is the gate open?' in told[0] and told[1] == 'Is the gate open?'


@pytest.mark.parametrize(('typed', 'is_set'), [('', False), ('3', True)])
def test_a_number_that_was_wiped_out_is_not_set_to_zero(
    parts: PageParts, typed: str, is_set: bool
) -> None:
    told = parts.run(f"""
        const {{ Parameters }} = await import("/parameters.js");
        const asked = [];
        const one = {{ name: "caption.period", text: "", value: 2, range: [0, 60], is_live: true }};
        const ask = (name, fields) => {{
          asked.push(fields.value);
          const reply = name === "parameters" ? {{ parameters: [one] }} : {{}};
          return {{ reply: Promise.resolve(reply) }};
        }};
        const parameters = new Parameters({{ ask }}, {{ chosen: () => ({{ node: "/penguin" }}) }});
        await parameters.load();
        const input = document.querySelector("#parameters input");
        input.value = "{typed}";
        input.dispatchEvent(new Event("change"));
        await new Promise((go) => setTimeout(go, 20));
        return [asked.slice(1), document.getElementById("parameter-told").textContent];
    """)
    assert told[0] == ([3] if is_set else [])
    assert 'caption.period' in told[1]


def test_older_entries_that_are_read_stay_while_new_ones_come(parts: PageParts) -> None:
    told = parts.run("""
        const { TimeLine } = await import("/entries.js");
        const evidence = { frames: [], end: "0", wait: 0, encode: 0, prefill: 0, decode: 0 };
        const entry = (number) => ({ type: "caption", node: "/penguin", number, heard: 0,
          caption: { text: `${number}`, camera: "front", header: { stamp: `${number}000000000` }, evidence } });
        const entries = (before) => [...Array(40).keys()].map((i) => entry(before - 1 - i));
        const ask = (name, { before }) => ({ reply: Promise.resolve({ entries: entries(before), has_more: true }) });
        const line = new TimeLine({ ask });
        line.add(entry(1000));
        line.hasMore(true);
        for (let page = 0; page < 12; page++) await line.more();
        line.list.scrollTop = line.list.scrollHeight;
        const before = line.list.children.length;
        line.add(entry(1001));
        const read = line.list.children.length;
        line.list.scrollTop = 0;
        line.add(entry(1002));
        return [before, read, line.list.children.length];
    """)  # noqa: E501
    assert told == [481, 482, 400]
