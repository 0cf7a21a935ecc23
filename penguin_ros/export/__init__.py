# SPDX-License-Identifier: Apache-2.0
"""Turns a checkpoint into a bundle: ONNX graphs, quantised weights, TensorRT engines. The node
never imports this room; it refuses a missing bundle with the command that builds it.

Reading order: `build` (the steps in order), `precision` (which format each matrix gets),
`weight_conversion` with `quantisation` and `weight_file` (weights into files), `network_weights`
(where they lie then), `graph`, `layer_graph`, `encoder_graph` and `decoder_graph` (the graphs),
`resources` (disk, memory and time), `bundle_cache` (bundles for verbs that are given a checkpoint),
`tensorrt/` (engines).

The verb `penguin build` calls `build.BundleBuilder` and `tensorrt.build.build_engines`; programs of
your own may call those or, for the usual case, `build.build_bundle`. Everything runs on the
caller's thread but the conversion of weights, which `weight_conversion` spreads over several.
"""
