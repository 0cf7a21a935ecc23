# SPDX-License-Identifier: Apache-2.0
"""The operator's console: a page in the browser, and the server behind it.

Reading order: `access` (who may come in), `rate_limit` and `audit` (how often, and what is written
down of it), `door` (these three together), `send_queue` (what one slow browser may cost: pictures,
never words), `hub` (what every browser is shown), `commands` (what a browser may ask for, checked),
`browser` (one WebSocket), `connections` (what may come before a request is complete), `server`
(HTTP). `page/` is the page itself: plain ES modules and one
style sheet, without a build step.

Nothing here knows ROS: the server talks to a `Robot`, which ros/console_node is. Everything runs on
the thread of one asyncio loop; `hub` says what may be called from others. aiohttp is imported by
`browser` and `server` alone.
"""
