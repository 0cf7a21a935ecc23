# SPDX-License-Identifier: Apache-2.0
"""Weights and how they learn from a batch: losses, optimisers, averaged weights, and the state from
which training resumes.

Gradients are computed in bfloat16 on a copy; the weights themselves, their average and the
optimisers are float32.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from penguin_sim_batches import GROUPS, MERGE, Batch
from penguin_sim_grids import Grid
from penguin_sim_heads import CellHeads
from penguin_sim_network import SimNetwork
from penguin_sim_words import IGNORED
from torch import Tensor, nn

from penguin_ros.checkpoint.shapes import CheckpointShape

MOTION_LAYER = 1
"""After this layer of the LLM the visual positions must know what moved, so that the later layers
can say it.
"""
EMA_DECAY = 0.995
CLIP_NORM = 1.0


@dataclass(frozen=True)
class LossWeights:
    """The weight of each loss; without `is_encoder_trained` the encoder's features are taken as
    they are.
    """

    cells: float = 1.0
    motion: float = 0.5
    text: float = 1.0
    is_encoder_trained: bool = True


class TrainedModel(nn.Module):
    """The network and the heads that exist in training only."""

    def __init__(self, shape: CheckpointShape) -> None:
        super().__init__()
        self.network = SimNetwork(shape)
        self.heads = CellHeads(shape.encoder.hidden_size, shape.llm.hidden_size)


class Trainer:
    """Holds a model and changes it step by step."""

    def __init__(self, shape: CheckpointShape, seed: int, device: str) -> None:
        torch.manual_seed(seed)
        self.device = torch.device(device)
        self.model = TrainedModel(shape).to(self.device)
        self.average = {
            name: value.detach().clone() for name, value in self.model.named_parameters()
        }
        self._twin = copy.deepcopy(self.model)
        for value in self._twin.parameters():
            value.data = value.data.bfloat16()
        named = list(self.model.named_parameters())
        matrices = [value for name, value in named if '.layers.' in name and value.ndim == 2]
        others = [value for name, value in named if not ('.layers.' in name and value.ndim == 2)]
        self._optimisers = [
            torch.optim.Muon(matrices, lr=1e-3, weight_decay=0.01, adjust_lr_fn='match_rms_adamw'),
            torch.optim.AdamW(others, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
        ]
        self.steps = 0

    def learn(self, batch: Batch, loss_weights: LossWeights, rate: float) -> dict[str, float]:
        """Makes one step at learning rate `rate` and returns the parts of the loss."""
        loss, parts = self._loss(batch, loss_weights)
        loss.backward()
        pairs = list(zip(self.model.parameters(), self._twin.parameters(), strict=True))
        for value, twin in pairs:
            value.grad = None if twin.grad is None else twin.grad.float()
            twin.grad = None
        parts['gradient'] = nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM).item()
        if parts['gradient'] == parts['gradient']:  # not NaN
            for optimiser in self._optimisers:
                optimiser.param_groups[0]['lr'] = rate
                optimiser.step()
        self.steps += 1
        self._copy_weights(min(EMA_DECAY, self.steps / (self.steps + 20)))
        return parts

    def _copy_weights(self, decay: float) -> None:
        values = [value.data for value in self.model.parameters()]
        torch._foreach_copy_([twin.data for twin in self._twin.parameters()], values)
        torch._foreach_lerp_(list(self.average.values()), values, 1 - decay)

    def _loss(self, batch: Batch, loss_weights: LossWeights) -> tuple[Tensor, dict[str, float]]:
        network, heads = self._twin.network, self._twin.heads
        cells = type(batch.cells)(
            **{name: value.to(self.device) for name, value in vars(batch.cells).items()}
        )
        features = self._features(batch, loss_weights.is_encoder_trained)
        loss, parts = heads.cell_loss(features, cells)
        loss = loss * loss_weights.cells
        if not batch.groups:
            return loss, parts | {'cells': loss.item()}
        parts['cells'] = loss.item()
        kept, outputs = network.prefix(self._embedded(batch, features))
        if len(batch.grids) > 1:
            hidden = outputs[MOTION_LAYER][:, batch.visual.to(self.device)]
            motion_loss, measures = heads.motion_loss(hidden, cells)
            loss = loss + loss_weights.motion * motion_loss
            parts |= measures | {'motion': motion_loss.item()}
        for name, (ids, targets) in zip(GROUPS, batch.groups, strict=True):
            text_loss = _text_loss(network, kept, ids.to(self.device), targets.to(self.device))
            loss = loss + loss_weights.text * text_loss
            parts[name] = text_loss.item()
        return loss, parts

    def _features(self, batch: Batch, is_trained: bool) -> Tensor:
        """Returns features (B, S, encoder size). Only one frame of each clip has gradients, which
        costs half and teaches nearly as much.
        """
        parts = []
        for frame, (grid, patches) in enumerate(zip(batch.grids, batch.patches, strict=True)):
            with torch.set_grad_enabled(is_trained and frame == batch.taught):
                parts.append(
                    encoded(self._twin.network, patches.to(self.device, torch.bfloat16), grid)
                )
        return torch.cat(parts, 1)

    def _embedded(self, batch: Batch, features: Tensor) -> Tensor:
        return embedded(
            self._twin.network,
            batch.prefix.to(self.device),
            batch.visual.to(self.device),
            features,
        )

    def averaged(self) -> SimNetwork:
        """Returns the network with averaged weights in float32, to score or to write."""
        network = copy.deepcopy(self.model.network)
        prefix = 'network.'
        network.load_state_dict(
            {
                name.removeprefix(prefix): value
                for name, value in self.average.items()
                if name.startswith(prefix)
            }
        )
        return network.requires_grad_(False)

    def state(self) -> dict[str, Any]:
        """Returns everything that `restore` needs."""
        return {
            'weights': self.model.state_dict(),
            'average': self.average,
            'steps': self.steps,
            'optimisers': [optimiser.state_dict() for optimiser in self._optimisers],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores everything as it was when `state` was taken, on whatever device."""
        self.model.load_state_dict(state['weights'])
        for name, value in self.average.items():
            value.copy_(state['average'][name])
        for optimiser, saved in zip(self._optimisers, state['optimisers'], strict=True):
            optimiser.load_state_dict(saved)
        self.steps = state['steps']
        torch._foreach_copy_(
            [twin.data for twin in self._twin.parameters()],
            [value.data for value in self.model.parameters()],
        )


def encoded(network: SimNetwork, patches: Tensor, grid: Grid) -> Tensor:
    """Returns the features (B, cells, encoder size) of one frame of B clips."""
    return network.encode(patches, grid.rows * MERGE, grid.columns * MERGE, MERGE)


def embedded(network: SimNetwork, prefix: Tensor, visual: Tensor, features: Tensor) -> Tensor:
    """Returns the embeddings (B, P, hidden) of the beginnings of prompts, with projected features
    (B, S, encoder size) at `visual`.
    """
    rows = network.llm.embed_tokens(prefix).expand(len(features), -1, -1)
    return rows.index_copy(1, visual, network.projector(features))


def _text_loss(network: SimNetwork, kept: Any, ids: Tensor, targets: Tensor) -> Tensor:
    hidden = network.branch(kept, ids)
    wanted = targets != IGNORED
    return F.cross_entropy(network.logits(hidden[wanted]).float(), targets[wanted])
