# SPDX-License-Identifier: Apache-2.0
"""What `sample` draws, compared with the definition written out in the plainest way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from penguin_ros.config import GenerationConfig
from penguin_ros.errors import InvalidLogits
from penguin_ros.generation.sampler import _candidates, new_random_stream, sample

LOGITS = arrays(np.float32, st.integers(1, 40), elements=st.floats(-50, 50, width=32))


def drawn(logits: np.ndarray, config: GenerationConfig, count: int, seed: int = 0) -> np.ndarray:
    random = new_random_stream(seed)
    return np.array([sample(logits, config, random) for _ in range(count)])


def plain_probabilities(logits: np.ndarray, config: GenerationConfig) -> np.ndarray:
    """Softmax at the temperature, cut to top_k, then to the smallest nucleus, normalised."""
    weights = np.exp((logits.astype(np.float64) - logits.max()) / config.temperature)
    order = sorted(range(len(weights)), key=lambda index: (-weights[index], index))
    if config.top_k:
        order = order[: config.top_k]
    total, kept, mass = sum(weights[index] for index in order), [], 0.0
    for index in order:
        kept.append(index)
        mass += weights[index]
        if mass >= config.top_p * total:
            break
    probabilities = np.zeros(len(weights))
    probabilities[kept] = weights[kept] / weights[kept].sum()
    return probabilities


@given(LOGITS)
def test_temperature_zero_takes_the_largest_and_of_equal_ones_the_first(logits: np.ndarray) -> None:
    random = new_random_stream(1)
    assert sample(logits, GenerationConfig(temperature=0.0), random) == int(
        np.flatnonzero(logits == logits.max())[0]
    )
    assert random.random() == new_random_stream(1).random()  # nothing was drawn


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('temperature', [0.0, 1.0])
def test_nan_and_infinite_logits_are_a_named_error(bad: float, temperature: float) -> None:
    logits = np.zeros(10, np.float32)
    logits[3] = bad
    with pytest.raises(InvalidLogits, match='of 10 logits'):
        sample(logits, GenerationConfig(temperature=temperature), new_random_stream(0))


@settings(deadline=None)
@given(
    LOGITS, st.floats(0.05, 5), st.integers(0, 45), st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.99, 1.0])
)
def test_candidates_and_their_weights_are_those_of_the_definition(
    logits: np.ndarray, temperature: float, top_k: int, top_p: float
) -> None:
    config = GenerationConfig(temperature=temperature, top_k=top_k, top_p=top_p)
    expected = plain_probabilities(logits, config)
    kept, weights = _candidates(logits, config)
    got = np.zeros(len(logits))
    got[kept] = weights / weights.sum()
    mass = np.sort(expected)[::-1]
    if 0 < top_p < 1 and np.abs(np.cumsum(mass) - top_p).min() < 1e-9:
        return  # on the very border of the nucleus rounding decides
    np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize(
    'config',
    [
        GenerationConfig(temperature=0.7),
        GenerationConfig(temperature=1.3, top_k=4),
        GenerationConfig(temperature=1.0, top_p=0.8),
        GenerationConfig(temperature=1.0, top_k=6, top_p=0.6),
    ],
)
def test_tokens_are_drawn_as_often_as_their_probability_says(config: GenerationConfig) -> None:
    logits = np.array([1.0, 3.0, -2.0, 2.5, 0.0, 2.9, 1.5, -9.0], np.float32)
    count = 20000
    shares = np.bincount(drawn(logits, config, count), minlength=len(logits)) / count
    expected = plain_probabilities(logits, config)
    assert np.abs(shares - expected).max() < 4 * np.sqrt(0.25 / count)
    assert (shares[expected == 0] == 0).all()


def test_a_large_vocabulary_whose_nucleus_exceeds_the_first_guess_is_ranked_whole() -> None:
    logits = np.linspace(0, 0.001, 5000).astype(np.float32)
    config = GenerationConfig(temperature=1.0, top_p=0.5)
    kept, _ = _candidates(logits, config)
    assert set(kept) == set(np.flatnonzero(plain_probabilities(logits, config)))
    assert 2400 < len(kept) < 2600


def test_top_k_keeps_exactly_k_even_among_equal_logits() -> None:
    kept, _ = _candidates(np.zeros(3000, np.float32), GenerationConfig(temperature=1.0, top_k=5))
    assert list(kept) == [0, 1, 2, 3, 4]


def test_the_same_seed_and_offset_draw_the_same_and_others_differ() -> None:
    logits, config = np.zeros(1000, np.float32), GenerationConfig(temperature=1.0)
    streams = [
        [sample(logits, config, random) for _ in range(8)]
        for random in (
            new_random_stream(3, 1),
            new_random_stream(3, 1),
            new_random_stream(3, 2),
            new_random_stream(4, 1),
        )
    ]
    assert streams[0] == streams[1]
    assert len({tuple(stream) for stream in streams}) == 3


@pytest.mark.parametrize('temperature', [1e-300, 1e-30, 1e30])
def test_extreme_temperatures_and_logits_neither_warn_nor_overflow(temperature: float) -> None:
    logits = np.array([-3e38, 3e38, 0.0], np.float32)
    with np.errstate(all='raise'):
        tokens = set(drawn(logits, GenerationConfig(temperature=temperature), 5))
    assert tokens == {1} if temperature < 1 else tokens <= {0, 1, 2}


@given(LOGITS, st.integers(0, 1000))
def test_float64_logits_draw_the_same_token_as_their_float32_origin(
    logits: np.ndarray, seed: int
) -> None:
    config = GenerationConfig(temperature=0.8, top_p=0.95)
    assert sample(logits, config, new_random_stream(seed)) == sample(
        logits.astype(np.float64), config, new_random_stream(seed)
    )


@pytest.mark.parametrize(('draw', 'expected'), [(0.0, 1), (float(np.nextafter(1.0, 0.0)), 3)])
def test_a_token_of_probability_zero_is_never_drawn_at_the_borders(
    draw: float, expected: int
) -> None:
    class Border(np.random.Generator):
        def random(self, *args: object, **kwargs: object) -> float:  # type: ignore[override]
            return draw

    logits = np.array([-1e30, 0.1, 0.2, 0.3, -1e30], np.float32)
    assert sample(logits, GenerationConfig(temperature=1.0), Border(np.random.PCG64(0))) == expected
