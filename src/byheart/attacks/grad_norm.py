"""GradNorm: a text that was trained on has little left to teach, so its loss hardly pulls at the weights.

Jeffrey G. Wang, Jason Wang, Marvin Li, Seth Neel. Pandora's White-Box: Precise Training Data Detection and Extraction
in Large Language Models. 2024. arXiv 2402.17012.
Milad Nasr, Reza Shokri, Amir Houmansadr. Comprehensive Privacy Analysis of Deep Learning: Passive and Active White-box
Inference Attacks against Centralized and Federated Learning. IEEE S&P, 2019. arXiv 1812.00910.

    score(x) = - || grad_theta  -1/N sum_t ln p(x_t | x_<t) ||_2        theta: what fine-tuning trained

Wang et al. compare norms of several orders over all weights of a pre-trained model; ours is the Euclidean norm over the
weights that were tuned, since the others are the base's and saw no member. Public re-implementations take the mean of
each tensor's norm instead, in which a bias of ten numbers weighs as much as a matrix of ten million; the norm of the
whole gradient does not depend on how its numbers are dealt into tensors.

The norm falls with the length of a text, over which the loss is a mean: among texts of very unequal lengths compare it
with `loss`, which does not.
"""

from __future__ import annotations

import numpy as np

from byheart.core import Gradients, Scores


def grad_norm(gradients: Gradients) -> Scores:
    """Minus the norm of the text's own loss gradient (nats per unit of weight), white box; higher means member."""
    return -gradients.norm.astype(np.float64)
