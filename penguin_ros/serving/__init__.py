# SPDX-License-Identifier: Apache-2.0
"""The engine behind HTTP: OpenAI's chat completions, with an addition for clips; no ROS.

Read it in this order:

    protocol         the body of a request as values, every field checked
    content          what messages show: pictures by their bytes or uuid, clips
    picture_store    pictures that clients sent, kept by uuid
    answers          answers, pieces and evidence as the protocol writes them
    refusals         errors as the protocol writes them
    engine           a pipeline under an event loop: pieces, the answer, cancelling
    metrics          what is counted, as Prometheus reads it
    chat_service     one chat completion from its body to its answer, without an HTTP library
    server           the same over aiohttp: keys, limits, streams
    main             options, and serving until Ctrl-C

Everything runs on the thread of one event loop, apart from decoding, which has threads of its own,
and the engine, whose worker thread hands its pieces to the loop.
"""
