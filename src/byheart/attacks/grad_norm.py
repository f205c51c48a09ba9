"""GradNorm: scores a text by the norm of its loss gradient, which is small for a text that the model was trained on.

Jeffrey G. Wang, Jason Wang, Marvin Li, Seth Neel. Pandora's White-Box: Precise Training Data Detection and Extraction
in Large Language Models. 2024. arXiv 2402.17012.
Milad Nasr, Reza Shokri, Amir Houmansadr. Comprehensive Privacy Analysis of Deep Learning: Passive and Active White-box
Inference Attacks against Centralized and Federated Learning. IEEE S&P, 2019. arXiv 1812.00910.

    score(x) = - || grad_theta  -1/N sum_t ln p(x_t | x_<t) ||_2        theta: the weights that fine-tuning trained

N is the number of tokens.

Departures from the authors' code:

- Wang et al. compare norms of several orders over all weights of a pre-trained model. Ours is the Euclidean norm over the
  fine-tuned weights, because the other weights were never trained on a member.
- Public re-implementations average the norms of the tensors, so a bias of ten numbers has the same weight as a matrix of ten
  million. The norm of the whole gradient does not depend on the split into tensors.

The norm falls with the length of a text, because the loss is a mean over tokens. For texts of very unequal lengths, compare it
with `loss`, which has no such dependence.
"""

from __future__ import annotations

import numpy as np

from byheart.core import Gradients, Scores

VARIANT = "Euclidean norm over the fine-tuned weights, in place of several norms over all weights"


def grad_norm(gradients: Gradients) -> Scores:
    """Minus the norm of the text's own loss gradient (nats per unit of weight), white box; higher means member."""
    return -gradients.norm.astype(np.float64)
