# SPDX-License-Identifier: Apache-2.0
"""Every setting of the core: its default, unit, range, meaning, and whether it may change while the
node is active.

A setting is defined here and nowhere else. The field `seconds` of `ClipConfig` is the ROS parameter
`clip.seconds` and `--set clip.seconds=VALUE` on the command line; `settings.py` lists and checks
them.
"""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.errors import SettingError
from penguin_ros.settings import setting

DEFAULT_CAPTION_PROMPT = 'Describe what is happening in this video in one or two sentences.'


@dataclass(frozen=True)
class ModelConfig:
    """Which model runs where."""

    checkpoint: str = setting(
        '', 'Folder or hub id of a published checkpoint; used when bundle is empty.'
    )
    bundle: str = setting('', 'Folder of a bundle, which penguin build makes of a checkpoint.')
    backend: str = setting(
        'auto',
        'Code that runs the model; auto: what the bundle was built for, torch for a checkpoint.',
        choices=('auto', 'onnxruntime', 'tensorrt', 'torch', 'scripted'),
    )
    device: str = setting(
        'auto', 'Device; auto takes CUDA when there is one.', choices=('auto', 'cpu', 'cuda')
    )
    provider: str = setting(
        'auto',
        'Execution provider of ONNX Runtime; auto: CUDA for a bundle that computes in float16 where '
        'there is one, else the CPU.',
        choices=('auto', 'cpu', 'cuda', 'tensorrt'),
    )
    precision: str = setting(
        'auto',
        'Number format of weights and cache; auto: float32 on a CPU, bfloat16 on CUDA. A bundle has '
        'its own.',
        choices=('auto', 'float32', 'bfloat16', 'float16', 'int8', 'int4'),
    )
    max_length: int = setting(
        4096, 'Length of a KV slot: prompt and answer together.', unit='tokens', low=64, high=262144
    )
    kv_slots: int = setting(
        4,
        'KV slots: a running caption, the question that interrupts it, earlier clips.',
        low=1,
        high=64,
    )
    kv_bytes: int = setting(
        2**31, 'KV slots together; fewer are made to keep it.', unit='bytes', low=0, high=2**40
    )
    prefix_caching: bool = setting(
        True, 'Keep what requests share: features of frames, and the KV slots of finished requests.'
    )
    encoder_cache_bytes: int = setting(
        2**27, 'Features kept; the longest unused go first.', unit='bytes', low=0, high=2**40
    )
    prefill_chunk: int = setting(
        256, 'Prompt positions per scheduler step.', unit='tokens', low=1, high=65536
    )
    encode_patches: int = setting(
        4096, 'Patches per slice of an encode, a step.', unit='patches', low=64, high=1048576
    )
    threads: int = setting(
        0, 'Threads of the inference library; 0 leaves its default.', low=0, high=1024
    )


@dataclass(frozen=True)
class VisualConfig:
    """How many visual tokens frames cost."""

    policy: str = setting(
        'reference',
        "reference: sizes share the budget as Penguin-VL does; fixed: a frame's size depends on "
        'its own type only, as always in the windows sliding and growing.',
        choices=('reference', 'fixed'),
        live=True,
    )
    max_visual_tokens: int = setting(
        1024, 'Budget for all frames of one request.', unit='tokens', low=16, high=16384, live=True
    )
    min_visual_tokens: int = setting(
        16, 'Floor for one frame.', unit='tokens', low=1, high=1024, live=True
    )
    key_tokens: int = setting(
        256,
        'Policy fixed: tokens of a key frame at most; window growing: no more than a quarter of the '
        'budget.',
        unit='tokens',
        low=1,
        high=16384,
        live=True,
    )
    intermediate_tokens: int = setting(
        64,
        'Policy fixed: tokens of an intermediate frame at most; window growing: no more than '
        'a sixteenth of the budget, or the floor.',
        unit='tokens',
        low=1,
        high=16384,
        live=True,
    )


@dataclass(frozen=True)
class ClipConfig:
    """Which frames a caption or a question on the present sees."""

    seconds: float = setting(4.0, 'Length of a clip.', unit='s', low=0.1, high=3600.0, live=True)
    fps: float = setting(
        2.0, 'Rate at which camera frames are sampled.', unit='Hz', low=0.01, high=240.0, live=True
    )
    max_frames: int = setting(
        16,
        'Frames of a clip at most; evenly thinned, the newest always kept.',
        low=1,
        high=180,
        live=True,
    )
    window: str = setting(
        'growing',
        'Frames of the present. recent: the newest, chosen anew each time; sliding: the newest of a '
        'fixed grid, all of one size; growing: appended to a clip until it begins anew.',
        choices=('recent', 'sliding', 'growing'),
        live=True,
    )
    max_age: float = setting(
        30.0,
        'Window growing: a clip begins anew when its anchor is older, and keeps no frame that is.',
        unit='s',
        low=0.1,
        high=3600.0,
        live=True,
    )
    overlap: int = setting(
        4,
        'Window growing: frames that a clip keeps at least when it begins anew, besides those that no '
        'caption has told of.',
        unit='frames',
        low=1,
        high=180,
        live=True,
    )
    precompute: str = setting(
        'encode',
        'Windows sliding and growing: what is done with arriving frames when nothing else is to do. '
        'encode: their features; prefill: the part of the prompt that a growing clip shares, too.',
        choices=('off', 'encode', 'prefill'),
        live=True,
    )


@dataclass(frozen=True)
class BufferConfig:
    """What is kept of the past, per camera."""

    seconds: float = setting(
        30.0, 'Age of the oldest frame kept.', unit='s', low=0.1, high=86400.0, live=True
    )
    max_bytes: int = setting(
        256 * 1024 * 1024,
        'Pixels kept per camera at most; the oldest go first.',
        unit='bytes',
        low=1024,
        high=2**40,
        live=True,
    )
    max_image_pixels: int = setting(
        50_000_000,
        'Pixels of one compressed image, of a camera or of a question; more is refused '
        'before decoding.',
        unit='pixels',
        low=196,
        high=2**31,
        live=True,
    )
    max_frame_pixels: int = setting(
        1920 * 1080,
        'A larger frame is reduced on arrival.',
        unit='pixels',
        low=196,
        high=8192 * 8192,
        live=True,
    )


@dataclass(frozen=True)
class CaptionConfig:
    """The background description."""

    enabled: bool = setting(True, 'Publish captions.', live=True)
    prompt: str = setting(
        DEFAULT_CAPTION_PROMPT, 'What the model is asked for each caption.', live=True
    )
    period: float = setting(
        2.0,
        'Time between the starts of two captions of one camera.',
        unit='s',
        low=0.05,
        high=86400.0,
        live=True,
    )
    max_tokens: int = setting(
        96, 'Length of a caption at most.', unit='tokens', low=1, high=65536, live=True
    )
    deadline: float = setting(
        30.0, 'A caption is cut after this time.', unit='s', low=0.05, high=86400.0, live=True
    )
    max_preemption: float = setting(
        10.0,
        'A caption that questions have interrupted for longer is given up as stale.',
        unit='s',
        low=0.0,
        high=86400.0,
        live=True,
    )
    gate: bool = setting(
        False,
        'No caption is made as long as nothing in the picture changes; the last one is repeated now and '
        'then.',
        live=True,
    )
    gate_similarity: float = setting(
        0.95,
        "Share of the picture's patches that must be alike for nothing to have changed.",
        low=0.0,
        high=1.0,
        live=True,
    )
    heartbeat: float = setting(
        10.0,
        'With caption.gate: the longest silence while nothing changes.',
        unit='s',
        low=0.05,
        high=86400.0,
        live=True,
    )


@dataclass(frozen=True)
class QuestionConfig:
    """Questions of other nodes and operators."""

    camera: str = setting('', 'Camera of a question that names none; empty: the first.', live=True)
    max_tokens: int = setting(
        256,
        'Length of an answer at most, and the default.',
        unit='tokens',
        low=1,
        high=65536,
        live=True,
    )
    deadline: float = setting(
        60.0,
        'Time from receipt to the complete answer when the question names none, and the longest '
        'that it may ask for.',
        unit='s',
        low=0.05,
        high=86400.0,
        live=True,
    )
    queue_length: int = setting(
        16, 'Waiting questions; one more is answered BUSY.', low=1, high=4096
    )
    max_characters: int = setting(
        4096, 'Length of a question at most.', unit='characters', low=1, high=1000000, live=True
    )
    max_images: int = setting(8, 'Pictures that a question may carry.', low=0, high=64, live=True)
    max_image_bytes: int = setting(
        16 * 1024 * 1024,
        "Compressed bytes of a question's pictures together.",
        unit='bytes',
        low=0,
        high=2**31,
        live=True,
    )


@dataclass(frozen=True)
class GenerationConfig:
    """How tokens are chosen."""

    temperature: float = setting(
        0.0, '0 takes the most probable token; above, samples.', low=0.0, high=10.0, live=True
    )
    top_p: float = setting(
        1.0, 'Samples from the most probable tokens of this mass.', low=0.0, high=1.0, live=True
    )
    top_k: int = setting(
        0, 'Samples from this many tokens; 0: all.', low=0, high=1000000, live=True
    )
    seed: int = setting(
        0,
        'Seed of the sampling; each request draws from its own stream.',
        low=0,
        high=2**31 - 1,
        live=True,
    )
    draft_tokens: int = setting(
        15,
        'Tokens guessed from the last answer to the same prompt and verified in one pass, at most; '
        'none where that does not pay; 0: never.',
        unit='tokens',
        low=0,
        high=63,
        live=True,
    )
    max_repeats: int = setting(
        8,
        'Stops when the text ends in this many repetitions of the same tokens; 0: never.',
        low=0,
        high=1000,
        live=True,
    )


@dataclass(frozen=True)
class WatchConfig:
    """When something is called late."""

    stale_after: float = setting(
        5.0,
        'A camera without a new frame for this long is stale; its frames are not used for the '
        'present.',
        unit='s',
        low=0.05,
        high=86400.0,
        live=True,
    )
    future_tolerance: float = setting(
        1.0,
        'A stamp further ahead of the clock is reported as skew.',
        unit='s',
        low=0.0,
        high=86400.0,
        live=True,
    )
    step_limit: float = setting(
        60.0,
        'A step of the model that takes longer is reported as hanging.',
        unit='s',
        low=0.1,
        high=86400.0,
        live=True,
    )


@dataclass(frozen=True)
class PenguinConfig:
    """All settings of the core."""

    model: ModelConfig = ModelConfig()
    visual: VisualConfig = VisualConfig()
    clip: ClipConfig = ClipConfig()
    buffer: BufferConfig = BufferConfig()
    caption: CaptionConfig = CaptionConfig()
    question: QuestionConfig = QuestionConfig()
    generation: GenerationConfig = GenerationConfig()
    watch: WatchConfig = WatchConfig()

    def __post_init__(self) -> None:
        """Checks the settings that depend on each other; SettingError says which do not fit."""
        if not self.caption.prompt.strip():
            raise SettingError(
                'caption.prompt is empty',
                'each caption is the answer to it',
                'Set it to a question or a request',
            )
        if self.clip.seconds > self.buffer.seconds:
            raise SettingError(
                f'clip.seconds = {self.clip.seconds}',
                f'the buffer keeps {self.buffer.seconds} s only',
                'Raise buffer.seconds or shorten the clip',
            )


RENAMED_SETTINGS = {
    'model.reuse': 'model.prefix_caching',
    'model.feature_cache_bytes': 'model.encoder_cache_bytes',
    'clip.ahead': 'clip.precompute',
    'caption.max_pause': 'caption.max_preemption',
    'question.max_image_pixels': 'buffer.max_image_pixels',
}
"""Old names of settings, with the current ones. An old name still works in this version, and a
warning names the current one; see settings.with_current_names.
"""
