"""The tests' shape and type checks: what they refuse, and when they are off."""

import dataclasses

import numpy as np
import pytest
from beartype.roar import BeartypeCallHintParamViolation
from jaxtyping import TypeCheckError

from byheart.core.types import LogProbs
from byheart.stats.intervals import logit_interval
from byheart.stats.roc_auc import auc_interval
from testing.made_up import study
from testing.shape_checks import without_shape_checks

SCORES, MEMBERSHIP, GROUPS = np.arange(4.0), np.array([True, True, False, False]), ("a", "b", "c", "d")


def test_arrays_of_one_call_must_have_one_shape():
    auc_interval(SCORES, MEMBERSHIP, GROUPS)
    with pytest.raises(TypeCheckError, match="auc_interval"):
        auc_interval(SCORES, MEMBERSHIP[:3], GROUPS)
    with pytest.raises(TypeCheckError):
        LogProbs(logp=np.zeros((2, 2)), starts=np.array([0, 2]))


def test_types_are_checked_where_no_array_is():
    with pytest.raises(BeartypeCallHintParamViolation):
        logit_interval("0.5", 1.0)
    with pytest.raises(BeartypeCallHintParamViolation):
        dataclasses.replace(study()[0], metric=1)


def test_shapes_are_checked_again_after_many_calls():
    with without_shape_checks(), pytest.raises((ValueError, IndexError)):
        auc_interval(SCORES, MEMBERSHIP[:3], GROUPS)
    with pytest.raises(TypeCheckError):
        auc_interval(SCORES, MEMBERSHIP[:3], GROUPS)
