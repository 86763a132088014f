"""Batches, their order and randomness, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hyperct_pipeline.errors import LeakageError, StoreError
from hyperct_pipeline.training.dataset import CTStudies, LabelledStudies, refuse_shared_patients
from hyperct_pipeline.volumes.slices import triplets
from hyperct_pipeline.volumes.store import VolumeStore

from .conftest import DIGEST, SLICES


def test_batches_follow_the_order(validation: CTStudies, store: VolumeStore) -> None:
    order = [7, 2, 5, 0, 9]
    batches = list(validation.batches(order, 2, epoch=0))
    assert [batch.numbers.tolist() for batch in batches] == [[7, 2], [5, 0], [9]]
    expected, mask = triplets(store.get("v005").hu, SLICES, None)
    assert batches[1].images.dtype == torch.int16
    normalised = validation.normalise(batches[1].images)[0]
    torch.testing.assert_close(normalised, torch.from_numpy(expected), atol=1e-6, rtol=0)
    assert batches[1].mask[0].tolist() == mask.tolist()
    assert np.array_equal(batches[1].labels, validation.studies.labels[[5, 0]])
    assert list(validation.batches([], 2, epoch=0)) == []


def test_triplets_that_no_study_has_are_cut_off(store: VolumeStore, validation: CTStudies) -> None:
    wide = CTStudies(store, validation.studies, replace(SLICES, n_triplets=9), DIGEST)
    (batch,) = wide.batches([0, 1], 2, epoch=0)
    assert batch.images.shape[:2] == (2, 4) and batch.mask.all()


def test_crops_follow_from_seed_epoch_and_study(train: CTStudies) -> None:
    first = [train.read(number, epoch=3)[0] for number in range(5)]
    again = [train.read(number, epoch=3)[0] for number in reversed(range(5))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(train.read(number, epoch=4)[0], first[number]) for number in range(5))


def test_compact_volumes_make_the_same_batches(store: VolumeStore, train: CTStudies) -> None:
    order = list(range(len(train)))
    mapped = list(train.batches(order, 4, epoch=2))
    for key in train.studies.study_keys[::2]:  # a mixed store
        store.put(key, store.get(key), "compact")
    for before, after in zip(mapped, train.batches(order, 4, epoch=2), strict=True):
        assert torch.equal(before.images, after.images) and torch.equal(before.mask, after.mask)


def test_volume_of_other_preprocessing_is_refused(store: VolumeStore, validation: CTStudies) -> None:
    other = CTStudies(store, validation.studies, SLICES, "prepared-otherwise")
    with pytest.raises(StoreError, match=r"v000 was prepared with settings prepared-so.*prepared-otherwise"):
        list(other.batches([0], 1, epoch=0))


def test_patient_in_both_splits_is_named() -> None:
    def split(*patients: str) -> LabelledStudies:
        return LabelledStudies(patients, patients, np.zeros((len(patients), 1), dtype=np.int8))

    refuse_shared_patients(split("a", "b"), split("c"))
    with pytest.raises(LeakageError, match=r"1 patients stand in train and in validation, e\.g\. \['b'\]"):
        refuse_shared_patients(split("a", "b"), split("b", "c"))


def test_labels_must_be_three_valued() -> None:
    with pytest.raises(ValueError, match="1, 0 or -1"):
        LabelledStudies(("a",), ("p",), np.array([[2]], dtype=np.int8))
