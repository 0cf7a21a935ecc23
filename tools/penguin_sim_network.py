# SPDX-License-Identifier: Apache-2.0
"""The network of a checkpoint in a form that trains: in batches, with gradients and extra heads.

It computes what `penguin_ros.backends.torch.session` computes; a test holds the two together.
Encoder and decoder take many frames and many texts at once: one prefix (the clip) is run once, and
any number of texts branch off it, each as if it stood alone behind the clip.
"""

from __future__ import annotations

import sys

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from penguin_ros.checkpoint.shapes import CheckpointShape, TransformerShape

Rope = tuple[Tensor, Tensor]
KeysValues = list[tuple[Tensor, Tensor]]
"""Keys and values per layer, each (batch, kv_heads, length, head_dim)."""


class Norm(nn.Module):
    """Root-mean-square norm with a weight."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], eps=self.eps) * self.weight


class Layer(nn.Module):
    """One Qwen3 layer; the names of its parameters are the canonical ones of a checkpoint."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.shape = shape
        hidden = shape.hidden_size
        queries = shape.heads * shape.head_dim
        keys = shape.kv_heads * shape.head_dim
        self.input_layernorm = Norm(hidden, shape.norm_eps)
        self.post_attention_layernorm = Norm(hidden, shape.norm_eps)
        self.self_attn = nn.ModuleDict(
            {
                'q_proj': _linear(hidden, queries),
                'k_proj': _linear(hidden, keys),
                'v_proj': _linear(hidden, keys),
                'o_proj': _linear(queries, hidden),
                'q_norm': Norm(shape.head_dim, shape.norm_eps),
                'k_norm': Norm(shape.head_dim, shape.norm_eps),
            }
        )
        self.mlp = nn.ModuleDict(
            {
                'gate_proj': _linear(hidden, shape.ffn_size),
                'up_proj': _linear(hidden, shape.ffn_size),
                'down_proj': _linear(shape.ffn_size, hidden),
            }
        )

    def project(self, x: Tensor, rope: Rope) -> tuple[Tensor, Tensor, Tensor]:
        """Returns queries, keys and values, (batch, heads, length, head_dim) each; queries and keys
        are normed and rotated.
        """
        parts, shape = self.self_attn, self.shape
        # one product of three is faster
        weights = torch.cat([parts[f'{name}_proj'].weight for name in 'qkv'])
        heads = (
            F.linear(self.input_layernorm(x), weights)
            .view(*x.shape[:2], -1, shape.head_dim)
            .transpose(1, 2)
        )
        queries, keys, values = heads.split([shape.heads, shape.kv_heads, shape.kv_heads], 1)
        return _turned(parts['q_norm'](queries), rope), _turned(parts['k_norm'](keys), rope), values

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Computes the rest of the layer; `mixed` is (batch, heads, length, head_dim)."""
        x = x + self.self_attn['o_proj'](mixed.transpose(1, 2).flatten(2))
        mlp = self.mlp
        weights = torch.cat((mlp['gate_proj'].weight, mlp['up_proj'].weight))
        gate, up = F.linear(self.post_attention_layernorm(x), weights).chunk(2, -1)
        return x + mlp['down_proj'](F.silu(gate) * up)


class Stack(nn.Module):
    """Layers and the final norm."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.hidden_size, shape.norm_eps)
        self.register_buffer(
            'frequencies',
            1.0
            / shape.rope_theta
            ** (torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim),
            persistent=False,
        )

    def rope(self, first: Tensor, second: Tensor, dtype: torch.dtype) -> Rope:
        """Returns tables (length, head_dim) from the positions of a pair's first and second
        member.
        """
        angles = [positions[:, None].float() * self.frequencies for positions in (first, second)]
        cosine = torch.cat([angle.cos() for angle in angles], -1)
        return cosine.to(dtype), torch.cat((-angles[0].sin(), angles[1].sin()), -1).to(dtype)


class SimNetwork(nn.Module):
    """The encoder, projector and LLM of `shape`, whose head is the embedding."""

    def __init__(self, shape: CheckpointShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Stack(shape.encoder)
        self.llm = Stack(shape.llm)
        self.encoder.patch_embedding = nn.Linear(shape.patch_values, shape.encoder.hidden_size)
        self.projector = nn.Sequential(
            nn.Linear(shape.encoder.hidden_size, shape.llm.hidden_size),
            nn.GELU(),
            nn.Linear(shape.llm.hidden_size, shape.llm.hidden_size),
        )
        self.llm.embed_tokens = nn.Embedding(shape.vocabulary_size, shape.llm.hidden_size)
        self.apply(_initialise)

    def encode(self, patches: Tensor, rows: int, columns: int, merge_size: int) -> Tensor:
        """Encodes (frames, rows * columns, values), patches in merge-block order, to (frames,
        tokens, encoder size).
        """
        x = self.encoder.patch_embedding(patches)
        at = _block_positions(rows, columns, merge_size, patches.device)
        rope = self.encoder.rope(*at, x.dtype)
        for layer in self.encoder.layers:
            queries, keys, values = layer.project(x, rope)
            x = layer.finish(x, attend(queries, [(keys, values, None)]))
        return self.encoder.norm(x).unflatten(1, (-1, merge_size**2)).mean(2)

    def prefix(self, embeddings: Tensor) -> tuple[KeysValues, list[Tensor]]:
        """Returns the keys and values of (batch, length, hidden) that begin a prompt, and the
        output of every layer.
        """
        length = embeddings.shape[1]
        positions = torch.arange(length, device=embeddings.device)
        rope = self.llm.rope(positions, positions, embeddings.dtype)
        hidden_pairs = torch.ones(length, length, dtype=torch.bool, device=embeddings.device).triu(
            1
        )
        x, kept, outputs = embeddings, [], []
        for layer in self.llm.layers:
            queries, keys, values = layer.project(x, rope)
            kept.append((keys, values))
            x = layer.finish(x, attend(queries, [(keys, values, hidden_pairs)]))
            outputs.append(x)
        return kept, outputs

    def branch(self, kept: KeysValues, token_ids: Tensor) -> Tensor:
        """Returns the last hidden states (batch, texts, length, hidden) of texts (batch, texts,
        length) that each follow the prefix.
        """
        batch, texts, length = token_ids.shape
        past = kept[0][0].shape[2]
        positions = torch.arange(past, past + length, device=token_ids.device)
        x = self.llm.embed_tokens(token_ids).flatten(0, 1)
        rope = self.llm.rope(positions, positions, x.dtype)
        hidden_pairs = torch.ones(length, length, dtype=torch.bool, device=token_ids.device).triu(1)
        for layer, (past_keys, past_values) in zip(self.llm.layers, kept, strict=True):
            queries, keys, values = layer.project(x, rope)
            x = layer.finish(
                x, attend(queries, [(past_keys, past_values, None), (keys, values, hidden_pairs)])
            )
        return self.llm.norm(x).unflatten(0, (batch, texts))

    def logits(self, hidden: Tensor) -> Tensor:
        """Returns the logits of the next token."""
        return F.linear(hidden, self.llm.embed_tokens.weight)


def attend(queries: Tensor, parts: list[tuple[Tensor, Tensor, Tensor | None]]) -> Tensor:
    """Computes grouped-query attention over parts (keys, values, which pairs are hidden), with one
    softmax over all of them together.

    `queries` are (batch * n, heads, length, head_dim); a part's keys are (batch or batch * n,
    kv_heads, keys, head_dim), and where the first axis is shorter, n queries share them. It is
    written as plain products, which at this size are faster on a CPU than a fused operator.
    """
    rows, heads, length, head_dim = queries.shape
    kv_heads = parts[0][0].shape[1]
    groups = heads // kv_heads
    queries = queries.reshape(rows, kv_heads, groups * length, head_dim) * head_dim**-0.5
    scores = [_shared(queries, keys.transpose(-1, -2)) for keys, _, _ in parts]
    masked = [
        score
        if hidden is None
        else score.unflatten(2, (groups, length)).masked_fill(hidden, float('-inf')).flatten(2, 3)
        for score, (_, _, hidden) in zip(scores, parts, strict=True)
    ]
    weights = torch.softmax(masked[0] if len(masked) == 1 else torch.cat(masked, -1), -1)
    mixed: Tensor | None = None
    for part, (_, values, _) in zip(
        weights.split([score.shape[-1] for score in scores], -1), parts, strict=True
    ):
        product = _shared(part, values)
        mixed = product if mixed is None else mixed + product
    assert mixed is not None
    return mixed.reshape(rows, heads, length, head_dim)


def compile_layers() -> None:
    """Compiles the layers, which takes some minutes at first and then trains a quarter faster;
    needs a C++ compiler.
    """
    torch._dynamo.config.recompile_limit = 64
    for owner, name in ((Layer, 'project'), (Layer, 'finish'), (sys.modules[__name__], 'attend')):
        setattr(owner, name, torch.compile(getattr(owner, name), dynamic=True))


def _shared(rows: Tensor, columns: Tensor) -> Tensor:
    """Returns the matrix product per head, where each of `columns` may serve several of `rows`,
    which are then stacked.
    """
    times = rows.shape[0] // columns.shape[0]
    if times == 1:
        return rows @ columns
    stacked = rows.unflatten(0, (-1, times)).transpose(1, 2).flatten(2, 3)
    return (stacked @ columns).unflatten(2, (times, -1)).transpose(1, 2).flatten(0, 1)


def _turned(x: Tensor, rope: Rope) -> Tensor:
    return x * rope[0] + x.roll(x.shape[-1] // 2, dims=-1) * rope[1]


def _block_positions(
    rows: int, columns: int, merge_size: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    grid = torch.arange(rows * columns, device=device).view(
        rows // merge_size, merge_size, columns // merge_size, merge_size
    )
    order = grid.transpose(1, 2).flatten()
    return order // columns, order % columns


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.7 * module.weight.shape[1] ** -0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.04)
