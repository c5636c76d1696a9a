"""Words hidden at random while training: the only way in which a text is varied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from galenic.core.contract import Prepared, Settings
from galenic.texts.tokens import PAD, UNKNOWN


@dataclass(frozen=True)
class Draw:
    """Places in each text. spelt: the word's number is hidden, its pieces stay; gone: both are hidden."""

    spelt: dict[str, list[int]] = field(default_factory=dict)
    gone: dict[str, list[int]] = field(default_factory=dict)


def draw_hidden(rng: np.random.Generator, prepared: Prepared, settings: Settings) -> Draw:
    """Each token is hidden with the chance `word_dropout` of its field, with and without its pieces by halves."""
    spelt, gone = {}, {}
    for name, known in settings["texts"].items():
        if name in prepared.arrays:
            chance = rng.random(np.count_nonzero(prepared.arrays[name][:, 0] != PAD))
            hidden, half = known["word_dropout"], known["word_dropout"] / 2
            spelt[name] = np.flatnonzero(chance < half).tolist()
            gone[name] = np.flatnonzero((chance >= half) & (chance < hidden)).tolist()
    return Draw(spelt, gone)


def apply_hidden(prepared: Prepared, draw: Draw, settings: Settings) -> Mapping[str, Tensor]:
    """Tensors of the texts with those words hidden, without a batch axis."""
    done = {}
    for name in settings["texts"]:
        if name in prepared.arrays:
            array = np.array(prepared.arrays[name])  # a copy: [length, 1 + pieces]
            array[[*draw.spelt[name], *draw.gone[name]], 0] = UNKNOWN
            array[draw.gone[name], 1:] = PAD
            done[name] = torch.from_numpy(array)
    return done
