import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from paredown.dataset.splits import stratified_split

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=200).map(np.array)
FRACTIONS = st.sampled_from([(0.6, 0.2), (0.5,), (0.1, 0.1, 0.1)])


@given(LABELS, FRACTIONS, st.integers(0, 99))
def test_a_split_holds_each_index_once(
    labels: np.ndarray, fractions: tuple[float, ...], seed: int
) -> None:
    parts = stratified_split(labels, fractions, seed)
    assert len(parts) == len(fractions) + 1
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))


@given(LABELS, FRACTIONS, st.integers(0, 99))
def test_each_part_has_its_share_of_each_class_within_one_image(
    labels: np.ndarray, fractions: tuple[float, ...], seed: int
) -> None:
    shares = (*fractions, 1 - sum(fractions))
    for part, share in zip(stratified_split(labels, fractions, seed), shares, strict=True):
        for label in np.unique(labels):
            asked = share * (labels == label).sum()
            assert abs((labels[part] == label).sum() - asked) <= 1 + 1e-9


def test_another_seed_splits_otherwise_and_the_same_one_alike() -> None:
    labels = np.arange(200) % 5
    first, again, other = (stratified_split(labels, (0.5,), seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
