"""Trajectory: how the text's likelihood changed from epoch to epoch, read from the model after every epoch.

Yiyong Liu, Zhengyu Zhao, Michael Backes, Yang Zhang. Membership Inference Attacks by Exploiting Loss Trajectory. ACM CCS, 2022.
arXiv 2208.14933. The features follow a public re-implementation, `miae/attacks/losstraj_mia.py` of RPI-DSPlab/MIAE: the text's loss
under each model of a sequence, given to a classifier that is fitted on texts with labels.
Thomas Michel, Debabrota Basu, Emilie Kaufmann. Sequential Membership Inference Attacks. 2026. arXiv 2602.16596: a sequence of models
shows a member at the update that inserted it, while the signal in the final model fades as training data accumulates.

    g_t(x) = LL_t(x) - LL_{t-1}(x),  t = 1 ... e          LL_0: base model, LL_t: model after the t-th observed epoch
    score(x) = ln P(member | g_1 ... g_e) / P(non-member | g_1 ... g_e)

LL is the mean log-probability per token. `reference` sees the sum of the changes only. Two texts with the same sum may differ:
likelihood that a text gains in the first epoch and keeps is often style, which non-members gain too; what it gains in later epochs,
while non-members lose, is the text itself.

The adversary has the model after every epoch: a training service that offers checkpoints, a repository with its history, a party
of a federation. The regression is a logistic regression with standardized features, fitted on `data.known` members and
non-members, which are not audited.

Departures from Liu et al.:

- Their adversary has the final model only, imitates its training by distillation, and reads the losses of the distilled models.
  Ours reads the models of the training itself.
- They fit a neural network on the trajectories of a shadow model. Ours fits a linear model on known texts of the target.
- Their features are losses. Ours are changes of the log-likelihood, so that a text that is easy for the base model gains nothing
  by it. At epoch 0 there is no change, and every text scores 0.

The test of Michel et al. knows at which update a record was inserted. In fine-tuning for several epochs every member is inserted in
every epoch, so their statistic is not used here.
"""

from __future__ import annotations

import numpy as np

from byheart.attacks._known_texts import Features, log_odds, standardize
from byheart.core import DataError, LogProbs, Scores, ragged

VARIANT = "the models of the training itself, in place of distilled ones; a linear model fitted on known texts"

KNOWN = 20
"""Minimum number of known texts per class for fitting, as in `ensemble`."""


def trajectory(
    target_by_epoch: tuple[LogProbs, ...],
    known_members_by_epoch: tuple[LogProbs, ...],
    known_nonmembers_by_epoch: tuple[LogProbs, ...],
) -> Scores:
    """Log-odds of membership by the change of log-likelihood in each epoch, fitted on known texts; higher means member.

    Each input begins with the base model. 0 for every text at the base model. Raises `DataError` for fewer than 20 known texts of a
    class, and for inputs of different numbers of epochs.
    """
    if len({len(path) for path in (target_by_epoch, known_members_by_epoch, known_nonmembers_by_epoch)}) > 1:
        raise DataError(
            f"attacks trajectory: {len(target_by_epoch)} models scored the audited texts, {len(known_members_by_epoch)} the known "
            f"members, {len(known_nonmembers_by_epoch)} the known non-members. Score all texts with the same models."
        )
    for name, path in (("members", known_members_by_epoch), ("non-members", known_nonmembers_by_epoch)):
        if len(path[0]) < KNOWN:
            raise DataError(
                f"attacks trajectory: {len(path[0])} known {name}, but the fit needs at least {KNOWN}. Set data.known to {KNOWN}, "
                "better 50."
            )
    if len(target_by_epoch) == 1:
        return np.zeros(len(target_by_epoch[0]))
    members, nonmembers = _changes(known_members_by_epoch), _changes(known_nonmembers_by_epoch)
    known_features, features = standardize(np.vstack([members, nonmembers]), _changes(target_by_epoch))
    return log_odds(known_features, np.arange(len(known_features)) < len(members), features)


def _changes(path: tuple[LogProbs, ...]) -> Features:
    """Return the change of each text's mean log-probability (nats per token) from each model to the next."""
    return np.diff(np.stack([ragged.means(p.logp, p.starts) for p in path], axis=1), axis=1)
