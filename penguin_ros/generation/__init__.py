# SPDX-License-Identifier: Apache-2.0
"""From a prompt and its frames to text: encode, prefill, decode, and what is kept between requests.

Read `generate` first; it calls, from top to bottom, `chunks`, `sampler` (with `stop_rules`) and
`speculative/` (drafts), and writes into an `output` (with its `detokenizer`) as `params` allow.
`caches` holds what outlives a generation: `encoder_cache` and `prefix_cache`, whose slots are
`kv_slot`. `precompute` fills the caches before anybody asks. Jobs of `requests/` drive the
generators on the scheduler's worker thread; only `forget` and the `stats` of the caches may be
called on any thread. The room knows backends by the interface in `backends/base` alone.
"""
