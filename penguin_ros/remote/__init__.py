# SPDX-License-Identifier: Apache-2.0
"""Remote engines: servers elsewhere that answer as the node's own model would, over the protocol of
OpenAI's chat completions.

Read `question` (what is asked and answered, as values), `engine` (the thread with its loop, and the
order in which endpoints are tried) with `hedging`, `line` (one endpoint with its counts), `breaker`
(whether it may be asked), `client` and `connection` (one attempt over HTTP); then `endpoint` (what
the setting says), `dialects` and `frame_pictures` (what is sent), `event_stream`, `reply` and
`typed_reply` (what comes back), `failure` and `probe`.

`requests/remote_job.py` asks; it falls back to the node's own model. The client runs on the thread
of the loop, frames are encoded on another, and no method waits for the network.
"""
