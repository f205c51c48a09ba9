"""Gradient alignment at the initial weights: training moves the weights along the gradients of its members.

Jiacheng Li, Ninghui Li, Bruno Ribeiro. Efficient passive membership inference attack in federated learning. 2021. arXiv 2111.00430.
Its cosine attack: the update of a client contains the gradients of its own texts; those of other texts are nearly orthogonal to it.
The formula is also in the code of FedMIA (Gongxi Zhu et al., CVPR 2025, arXiv 2402.06289), which compares with this attack.

    score(x) = cos(-grad_theta L(x; theta_0), theta - theta_0)

L is the mean loss over the text's tokens, theta the trained parameters, theta_0 their values before training.

Departures: one displacement of a whole training, of many steps of AdamW, in place of the update of one round of federated learning.
The parameters are the trained ones of the method, such as an adapter or virtual tokens. The paper's second attack (the gradient
difference) is left out: it compares the length of a gradient with that of the displacement, and AdamW's steps do not have the
gradient's scale.
"""

from __future__ import annotations

import numpy as np

from byheart.core import GradientAlignment, Scores

VARIANT = "the displacement of a whole fine-tuning, in place of the update of a round of federated learning"


def gradient_alignment_initial(initial_alignment: GradientAlignment) -> Scores:
    """Cosine of the training's displacement with minus the text's loss gradient before training; higher means member."""
    return initial_alignment.cosine.astype(np.float64)
