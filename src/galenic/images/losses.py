"""The loss of a label map: soft Dice and cross-entropy, case by case."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

IGNORED = 255  # a voxel of the truth that nothing is known of
SMOOTH = 1.0  # voxels; defines the Dice of a class that a patch lacks, and keeps its gradient mild


def dice_cross_entropy(output: Tensor, truth: Tensor) -> Tensor:
    """Soft Dice (mean over foreground classes) + cross-entropy (mean over known voxels) of each case.

    output: [b, K, *space] logits of any float type; K = 1 means a sigmoid network of one class.
    truth:  [b, *space] integers: 0 .. K - 1 (0 and 1 for K = 1), 255 where unknown.
    Returns (b,) float32; 0 where a case has no known voxel. Dice without squares (Drozdzal et al., LABELS 2016); the
    sum of the two as in Isensee et al., Nature Methods 18:203, 2021.
    """
    cases, channels = output.shape[:2]
    logits = output.reshape(cases, channels, -1).float()  # [b, K, n]
    labels = truth.reshape(cases, -1).long()  # [b, n]
    known = labels != IGNORED
    whole = bool(known.all())
    if not whole:
        labels = labels.masked_fill(~known, 0)
    weight = None if whole else known.float()
    if channels == 1:
        surprise, marked, hit = _sigmoid(logits[:, 0], labels)
    else:
        surprise, marked, hit = _softmax(logits, labels)
    if weight is not None:
        surprise, marked, hit = surprise * weight, marked * weight[:, None], hit * weight
    count = max(channels, 2)
    overlap = _by_class(hit, labels, count)
    true = _by_class(weight if weight is not None else torch.ones_like(hit), labels, count)
    soft_dice = (2 * overlap + SMOOTH) / (marked.sum(2)[:, -count + 1 :] + true + SMOOTH)  # [b, foreground]
    voxels = known.sum(1)
    per_case = surprise.sum(1) / voxels.clamp_min(1) + 1 - soft_dice.mean(1)
    return per_case if whole else torch.where(voxels > 0, per_case, torch.zeros_like(per_case))


def _softmax(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy [b, n], probabilities [b, K, n], and the true class's probability [b, n]."""
    log_p = functional.log_softmax(logits, 1)
    log_hit = log_p.gather(1, labels[:, None])[:, 0]
    return -log_hit, log_p.exp(), log_hit.exp()


def _sigmoid(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy [b, n], probability of the one class [b, 1, n], and the same [b, n] for the overlap."""
    p = logits.sigmoid()
    return functional.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none"), p[:, None], p


def _by_class(values: Tensor, labels: Tensor, count: int) -> Tensor:
    """Sums of `values` [b, n] over the voxels of each foreground class: [b, count - 1], with no one-hot copy."""
    return values.new_zeros(len(values), count).scatter_add(1, labels, values)[:, 1:]
