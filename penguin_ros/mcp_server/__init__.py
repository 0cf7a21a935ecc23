# SPDX-License-Identifier: Apache-2.0
"""What LLM agents may do with a robot: a server of the Model Context Protocol, by its official SDK.

Reading order: `server` (which tools there are, stdio or HTTP), `tools` (what each does, bounded),
`replies` (what they return, as values that become JSON), `robot_link` (the connection to the robot,
made when it is first needed).

It talks to the robot by `penguin_ros.client` only. Everything here runs on the thread of the
asyncio loop.
"""
