# SPDX-License-Identifier: Apache-2.0
"""Every setting of the core: its default, unit, range, meaning, and whether it may change while the
node is active.

A setting is defined here and nowhere else. The field `seconds` of `ClipConfig` is the ROS parameter
`clip.seconds` and `--set clip.seconds=VALUE` on the command line; `settings.py` lists and checks
them. The sections of questions and rules are in `question_config.py`,
`rule_config.py` and `remote_config.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.errors import SettingError
from penguin_ros.question_config import QuestionConfig
from penguin_ros.remote_config import ENGINES
from penguin_ros.remote_config import RemoteConfig as RemoteConfig
from penguin_ros.rule_config import RuleConfig
from penguin_ros.settings import RENAMED_SETTINGS as RENAMED_SETTINGS
from penguin_ros.settings import live_setting, setting

DEFAULT_CAPTION_PROMPT = 'Describe what is happening in this video in one or two sentences.'


@dataclass(frozen=True)
class ModelConfig:
    """Which model runs, on what, and with how much memory."""

    checkpoint: str = setting(
        '', 'Folder or hub id of a published checkpoint; ignored when model.bundle is set.'
    )
    bundle: str = setting('', 'Folder of a bundle, which `penguin build` makes from a checkpoint.')
    backend: str = setting(
        'auto',
        'Inference library that runs the model; auto: the one that the bundle was built for, torch '
        'for a checkpoint. cuda: own kernels, which need the driver alone.',
        choices=('auto', 'onnxruntime', 'tensorrt', 'cuda', 'torch'),
    )
    device: str = setting(
        'auto',
        'Device that runs the model; auto: CUDA if there is one, else the CPU.',
        choices=('auto', 'cpu', 'cuda'),
    )
    provider: str = setting(
        'auto',
        'Execution provider of ONNX Runtime; auto: CUDA if there is a card, and onnxruntime-gpu '
        'with its libraries; else the CPU.',
        choices=('auto', 'cpu', 'cuda', 'tensorrt'),
    )
    cuda_graphs: bool = setting(
        True,
        'Let the torch backend record the passes that come again as CUDA graphs and replay them; '
        'off: every operation is launched by itself, for comparisons.',
    )
    provider_tf32: bool = setting(
        False,
        "Let ONNX Runtime's CUDA provider multiply float32 numbers rounded to TF32 (10 bits of "
        'mantissa): faster, and no longer what float32 means.',
    )
    provider_graphs: bool = setting(
        False,
        "Let ONNX Runtime's CUDA provider capture steps that come again as graphs of launches; "
        'where it cannot, it goes on without.',
    )
    precision: str = setting(
        'auto',
        'Number format of the weights and the KV cache; auto: float32 on a CPU, bfloat16 on CUDA. '
        'A bundle has its own.',
        choices=('auto', 'float32', 'bfloat16', 'float16', 'int8', 'int4'),
    )
    max_length: int = setting(
        4096,
        'Length of a KV slot, which holds a prompt and its answer.',
        unit='tokens',
        span=(64, 262144),
    )
    kv_slots: int = setting(
        0,
        'Number of KV slots: for the running caption, the question that preempts it, and earlier '
        'clips; 0: 4, and with TensorRT on a Jetson by its memory, 2 on 8 GB.',
        span=(0, 64),
    )
    kv_bytes: int = setting(
        0,
        'Memory for all KV slots together; fewer slots are made if they would not fit; 0: 2 GiB, '
        'and with TensorRT on a Jetson at least what its usual number of slots takes.',
        unit='bytes',
        span=(0, 2**40),
    )
    memory_check: bool = setting(
        True,
        'Refuse TensorRT engines that do not fit into memory by the plan in the log, before they '
        'are loaded; off: try.',
    )
    prefix_caching: bool = setting(
        True,
        'Reuse what requests share: the encoded features of frames and the KV slots of finished '
        'requests.',
    )
    encoder_cache_bytes: int = setting(
        2**27,
        'Memory of the encoder cache; the least recently used features are evicted first.',
        unit='bytes',
        span=(0, 2**40),
    )
    prefill_chunk: int = setting(
        0,
        'Prompt tokens prefilled per scheduler step; 0: 256, and where torch runs on CUDA as many '
        'of 256, 512 and 1024 as take 20 ms at most, measured when the model is loaded.',
        unit='tokens',
        span=(0, 65536),
    )
    encode_patches: int = setting(
        0,
        'Image patches encoded per scheduler step; 0: 4096, and where torch runs on CUDA as many, '
        'up to 4096, as take 20 ms at most, measured when the model is loaded.',
        unit='patches',
        span=(0, 1048576),
    )
    decode: str = setting(
        'auto',
        'Whether engines of TensorRT write text, or own kernels; auto: what it was built for.',
        choices=('auto', 'engines', 'kernels'),
    )
    greedy_steps: int = setting(
        0,
        'Tokens that own kernels write one after another, without the host looking at each, '
        'where it only takes the most probable; 0: 4, on a board that shares its memory 2.',
        unit='tokens',
        span=(0, 16),
    )
    answer_temperature: float = setting(
        0.0,
        'What the logarithms of odds between answers are divided by, for choices and rules; above '
        '1: probabilities are less sure. 0: what calibration.json of the model says, else 1.',
        span=(0.0, 20.0),
    )
    threads: int = setting(
        0, 'Threads of the inference library; 0: its own default.', span=(0, 1024)
    )


@dataclass(frozen=True)
class VisualConfig:
    """How many visual tokens a frame costs."""

    policy: str = live_setting(
        'reference',
        "How frames are sized. reference: they share the budget as in Penguin-VL; fixed: a frame's "
        'size depends on its type alone, which clip.window sliding and growing always do.',
        choices=('reference', 'fixed'),
    )
    max_visual_tokens: int = live_setting(
        1024,
        'Budget of visual tokens for all frames of one request.',
        unit='tokens',
        span=(16, 16384),
    )
    min_visual_tokens: int = live_setting(
        16, 'Minimum of visual tokens for one frame.', unit='tokens', span=(1, 1024)
    )
    key_tokens: int = live_setting(
        256,
        'Maximum of visual tokens for a key frame with visual.policy fixed; with clip.window '
        'growing, no more than a quarter of the budget.',
        unit='tokens',
        span=(1, 16384),
    )
    intermediate_tokens: int = live_setting(
        64,
        'Maximum of visual tokens for an intermediate frame with visual.policy fixed; with '
        'clip.window growing, no more than a sixteenth of the budget, or the minimum.',
        unit='tokens',
        span=(1, 16384),
    )


@dataclass(frozen=True)
class ClipConfig:
    """Which frames a caption, or a question about the present, is based on."""

    seconds: float = live_setting(4.0, 'Length of a clip.', unit='s', span=(0.1, 3600.0))
    fps: float = live_setting(
        2.0, 'Rate at which frames of a camera are sampled.', unit='Hz', span=(0.01, 240.0)
    )
    max_frames: int = live_setting(
        16,
        'Maximum number of frames in a clip; more are thinned evenly, and the newest is kept.',
        span=(1, 180),
    )
    window: str = live_setting(
        'growing',
        'Which frames show the present. recent: the newest, chosen afresh for each request; '
        'sliding: the newest on a fixed time grid, all of one size; growing: new frames are '
        'appended to a clip until it restarts.',
        choices=('recent', 'sliding', 'growing'),
    )
    max_age: float = live_setting(
        30.0,
        'With clip.window growing, a clip restarts when the frame it last restarted with is older '
        'than this; no older frame is kept.',
        unit='s',
        span=(0.1, 3600.0),
    )
    overlap: int = live_setting(
        4,
        'With clip.window growing, the minimum number of frames that a clip keeps when it '
        'restarts; frames that are not captioned yet are kept as well.',
        unit='frames',
        span=(1, 180),
    )
    precompute: str = live_setting(
        'encode',
        'With clip.window sliding or growing, what is precomputed of new frames while the model is '
        'idle. encode: their features; prefill: also the part of the prompt that a growing clip '
        'keeps.',
        choices=('off', 'encode', 'prefill'),
    )


@dataclass(frozen=True)
class BufferConfig:
    """How much of each camera's past is kept."""

    seconds: float = live_setting(
        30.0, 'Frames older than this are dropped.', unit='s', span=(0.1, 86400.0)
    )
    max_bytes: int = live_setting(
        256 * 1024 * 1024,
        'Memory for the frames of one camera; the oldest are dropped first.',
        unit='bytes',
        span=(1024, 2**40),
    )
    max_image_pixels: int = live_setting(
        50_000_000,
        'Maximum size of a compressed image from a camera or in a question; a larger one is '
        'refused before it is decoded.',
        unit='pixels',
        span=(196, 2**31),
    )
    max_frame_pixels: int = live_setting(
        1920 * 1080,
        'Maximum size of a frame; a larger one is scaled down on arrival.',
        unit='pixels',
        span=(196, 8192 * 8192),
    )
    white_level: int = live_setting(
        65535,
        'The 16-bit sample (mono16, rgb16, ...) that becomes white: 4095 for a camera of 12 bit.',
        span=(1, 65535),
    )
    stored_rgb: str = live_setting(
        'refuse',
        'What a format "...; jpeg compressed rgb8" means; exchanged: red and blue of the file are.',
        choices=('refuse', 'as_stored', 'exchanged'),
    )


@dataclass(frozen=True)
class CaptionConfig:
    """The captions that describe a camera's images in the background."""

    enabled: bool = live_setting(True, 'Publish captions.')
    engine: str = live_setting(
        'local',
        'What makes captions; see question.engine.',
        choices=ENGINES,
    )
    prompt: str = live_setting(
        DEFAULT_CAPTION_PROMPT, 'The question or request that each caption answers.'
    )
    period: float = live_setting(
        2.0,
        'Time between the starts of two captions of one camera.',
        unit='s',
        span=(0.05, 86400.0),
    )
    max_tokens: int = live_setting(
        96, 'Maximum length of a caption.', unit='tokens', span=(1, 65536)
    )
    deadline: float = live_setting(
        30.0, 'A caption that takes longer is cut off.', unit='s', span=(0.05, 86400.0)
    )
    max_preemption: float = live_setting(
        10.0,
        'A caption that questions have preempted for longer than this is dropped as stale.',
        unit='s',
        span=(0.0, 86400.0),
    )
    gate: bool = live_setting(
        False,
        'Make no new caption while nothing changes in the image; the last one is repeated from '
        'time to time.',
    )
    gate_similarity: float = live_setting(
        0.95,
        'Share of image patches that must be alike for an image to count as unchanged.',
        span=(0.0, 1.0),
    )
    heartbeat: float = live_setting(
        10.0,
        'With caption.gate, the longest time without a caption while nothing changes.',
        unit='s',
        span=(0.05, 86400.0),
    )


@dataclass(frozen=True)
class GenerationConfig:
    """How the next token is chosen."""

    temperature: float = live_setting(
        0.0, 'Sampling temperature; 0: always the most probable token.', span=(0.0, 10.0)
    )
    top_p: float = live_setting(
        1.0,
        'Samples from the most probable tokens that together have this probability.',
        span=(0.0, 1.0),
    )
    top_k: int = live_setting(
        0, 'Samples from this many of the most probable tokens; 0: from all.', span=(0, 1000000)
    )
    seed: int = live_setting(
        0, 'Seed of the sampling; each request has its own random stream.', span=(0, 2**31 - 1)
    )
    draft_tokens: int = live_setting(
        15,
        'Maximum number of tokens drafted from the last answer to the same prompt and verified in '
        'one pass; none are drafted while that does not pay; 0: never.',
        unit='tokens',
        span=(0, 63),
    )
    max_repeats: int = live_setting(
        8,
        'An answer that ends in this many repetitions of the same tokens is stopped; 0: never.',
        span=(0, 1000),
    )


@dataclass(frozen=True)
class WatchConfig:
    """Thresholds of the health warnings."""

    stale_after: float = live_setting(
        5.0,
        'A camera without a new frame for this long is stale: its frames do not show the present.',
        unit='s',
        span=(0.05, 86400.0),
    )
    future_tolerance: float = live_setting(
        1.0,
        'A stamp further ahead of the clock than this is reported as clock skew.',
        unit='s',
        span=(0.0, 86400.0),
    )
    step_limit: float = live_setting(
        60.0,
        'A model step that takes longer than this is reported as hanging.',
        unit='s',
        span=(0.1, 86400.0),
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
    rule: RuleConfig = RuleConfig()
    remote: RemoteConfig = RemoteConfig()

    def __post_init__(self) -> None:
        """Checks the settings that depend on each other; SettingError says which do not fit."""
        if not self.caption.prompt.strip():
            raise SettingError(
                'caption.prompt is empty',
                'each caption is the answer to it',
                'Set it to a question or a request',
            )
        for name, engine in (('question', self.question.engine), ('caption', self.caption.engine)):
            if engine != 'local' and not self.remote.endpoints.strip():
                raise SettingError(
                    f'{name}.engine = {engine}',
                    'no server is named (remote.endpoints)',
                    'Set remote.endpoints to NAME=URL',
                )
        if self.clip.seconds > self.buffer.seconds:
            raise SettingError(
                f'clip.seconds = {self.clip.seconds}',
                f'the buffer keeps {self.buffer.seconds} s only',
                'Raise buffer.seconds or shorten the clip',
            )
