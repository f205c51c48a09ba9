"""Hand-made log-probabilities of texts and of their neighbours."""

import hypothesis.strategies as st
import numpy as np

from byheart.core.evidence import Variants
from byheart.core.types import LogProbs

logps = st.lists(st.floats(-12, 0, width=32), min_size=1, max_size=12)
readings = st.lists(st.tuples(logps, st.lists(st.floats(-12, 0), min_size=1, max_size=9)), min_size=1, max_size=6)


def packed(texts):
    return LogProbs(logp=np.array([x for t in texts for x in t], np.float32), starts=np.cumsum([0, *map(len, texts)]))


def variants(texts):
    return Variants(loglik=np.array([x for t in texts for x in t], float), starts=np.cumsum([0, *map(len, texts)]))
