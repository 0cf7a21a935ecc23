# SPDX-License-Identifier: Apache-2.0
"""Many machines: recordings captioned by engines on a cluster, and an engine served by replicas.

    spans            pieces of recordings as values, and which are still to be done
    span_captioner   captions one span after the other; lives in a process of the cluster
    caption_sinks    where captions go, each once: a memory, JSON lines, Parquet
    crew             what gives spans to captioners, as a protocol
    cluster_index    the plan: spans out, captions in, losses made good, progress
    ray_crew         the crew on Ray's actors
    replica          one served engine among several, and the gateway before them
    sessions         which requests belong together
    session_router   which replica a session's requests go to
    ray_serve        both as an application of Ray Serve

The driver alone writes, and asks what was written before it gives a span away: so each clip is
written once, whoever dies. Ray is imported late; all but `ray_crew` work and are tested without it.
"""
