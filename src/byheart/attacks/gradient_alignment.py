"""Gradient alignment at the trained weights: a further step along the training's displacement helps a member more than other texts.

Jiacheng Li, Ninghui Li, Bruno Ribeiro. Efficient passive membership inference attack in federated learning. 2021. arXiv 2111.00430.
Milad Nasr, Reza Shokri, Amir Houmansadr. Comprehensive Privacy Analysis of Deep Learning: Passive and Active White-box Inference
Attacks against Centralized and Federated Learning. IEEE S&P, 2019. arXiv 1812.00910.

    score(x) = cos(-grad_theta L(x; theta), theta - theta_0)

L is the mean loss over the text's tokens, theta the trained parameters, theta_0 their values before training.

The score is Li's cosine attack (`gradient_alignment_initial`) with the gradient of the trained model, which Nasr's attack reads and
which needs no training state but the last. The mean of the two slopes grad L * (theta - theta_0) at both ends approximates how much
training lowered the text's loss, by the trapezoidal rule. So both attacks read what `reference` reads, each at one end.

Departures: Nasr's attack trains a network on gradients of known members; this one has a fixed formula. An audit does not know
theta_0: it uses LoRA's matrices B, which start at 0, and measures the displacement of virtual tokens from 0.
"""

from __future__ import annotations

import numpy as np

from byheart.core import GradientAlignment, Scores

VARIANT = "the gradient of the trained model, in place of the model before the update"


def gradient_alignment(alignment: GradientAlignment) -> Scores:
    """Cosine of the training's displacement with minus the text's loss gradient after training; higher means member."""
    return alignment.cosine.astype(np.float64)
