"""A convolution over words, after Kim, Convolutional Neural Networks for Sentence Classification, EMNLP 2014.

Trained from scratch: a word is its own vector and the mean of its pieces' (Bojanowski et al., TACL 5:135, 2017), so
that a misspelt one still counts. Convolutions over one to five words, their greatest answer anywhere in the text, and
the mean of the words beside it (Joulin et al., Bag of Tricks for Efficient Text Classification, EACL 2017).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from galenic.core import registry
from galenic.core.contract import Batch, Budget, Outputs, Prepared, Runner, Settings
from galenic.core.network import Features, Loss, Network, heads
from galenic.core.task import Task
from galenic.texts.tokens import FIRST, PAD

_ROW = 32  # features made of each input that is a row


class Words(nn.Module):
    """Token numbers and pieces (batch, length, 1 + pieces), of any type, to vectors (batch, length, dim).

    Padding gives exactly zero, which is how `encode` knows it; whole numbers come as floats from the runtimes.
    """

    def __init__(self, words: int, pieces: int, dim: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, dim, padding_idx=PAD)
        self.pieces = nn.Embedding(1 + pieces, dim, padding_idx=PAD)
        for table in (self.words, self.pieces):
            nn.init.normal_(table.weight, std=dim**-0.5)
            nn.init.zeros_(table.weight[PAD])

    def forward(self, given: Tensor) -> Tensor:
        numbers = given.long()
        word = numbers[..., 0].clamp(0, self.words.num_embeddings - 1)  # (batch, length)
        piece = numbers[..., 1:].clamp(0, self.pieces.num_embeddings - 1)  # (batch, length, pieces)
        count = (piece != PAD).sum(dim=-1, keepdim=True).clamp(min=1)
        out: Tensor = self.words(word) + self.pieces(piece).sum(dim=2) / count
        return out


class Convolutions(nn.Module):
    """Vectors (batch, length, dim) to one vector a text, and to one a word."""

    def __init__(self, dim: int, widths: list[int], filters: int, dropout: float) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.widths = widths
        self.layers = nn.ModuleList(nn.Conv1d(dim, filters, width) for width in widths)

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """((batch, dim + filters a width), (batch, length, filters a width)); mask (batch, length), 1.0 at a word."""
        across = self.drop(vectors).transpose(1, 2)  # (batch, dim, length)
        found = [
            torch.relu(layer(functional.pad(across, (0, width - 1))))
            for width, layer in zip(self.widths, self.layers, strict=True)
        ]  # (batch, filters, length) each: a window begins at each word, and may reach beyond the last
        tokens = torch.cat(found, dim=1).transpose(1, 2) * mask[..., None]
        mean = (vectors * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        return torch.cat([mean, tokens.amax(dim=1)], dim=1), tokens


class TextNetwork(Network):
    """Prepared texts (batch, length, 1 + pieces), and rows (batch, n), to one output a target."""

    def __init__(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> None:
        super().__init__(task, frames)
        self.shapes = dict(zip(settings["inputs"], settings["shapes"], strict=True))
        self.texts = [name for name in self.inputs if len(self.shapes[name]) == 2]
        self.rows = [name for name in self.inputs if name not in self.texts]
        dim, filters, widths = settings["dim"], settings["filters"], settings["widths"]
        known = [frames["words"]["texts"][name] for name in self.texts]
        self.words = nn.ModuleList(
            Words(FIRST + len(own["vocabulary"].split(" ")), own["different_pieces"], dim) for own in known
        )
        self.convolutions = nn.ModuleList(
            Convolutions(dim, widths, filters, settings["word_noise"]) for _ in self.texts
        )
        self.row = nn.ModuleList(nn.Linear(self.shapes[name][0], _ROW) for name in self.rows)
        width = len(self.texts) * (dim + filters * len(widths)) + len(self.rows) * _ROW
        self.drop = nn.Dropout(settings["dropout"])
        self.heads = heads(task, frames, width)

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Words as vectors (batch, length, dim); rows as they are."""
        return self._embed(self._whole(batch).values)

    def encode(self, embedded: Mapping[str, Tensor]) -> Features:
        """One vector of all inputs; the words of all texts one after the other, where a zero vector is padding."""
        vectors, tokens, masks = [], [], []
        for name, layer in zip(self.texts, self.convolutions, strict=True):
            mask = (embedded[name] != 0).any(dim=-1).to(embedded[name].dtype)
            vector, own = layer(embedded[name], mask)
            vectors.append(vector)
            tokens.append(own)
            masks.append(mask)
        vectors += [functional.gelu(layer(embedded[name])) for name, layer in zip(self.rows, self.row, strict=True)]
        return Features(torch.cat(vectors, dim=1), torch.cat(tokens, dim=1), torch.cat(masks, dim=1) > 0)

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Arrays of the inputs, in their order, to the output of each target."""
        embedded = self._embed(dict(zip(self.inputs, arrays, strict=True)))
        vector = self.drop(self.encode(embedded).vector)
        return tuple(head(vector) for head in self.heads)

    def losses(self, batch: Batch, progress: float) -> dict[str, Loss]:
        return super().losses(self._whole(batch), progress)

    def _embed(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        words = {name: layer(values[name]) for name, layer in zip(self.texts, self.words, strict=True)}
        return {name: words[name] if name in words else values[name].float() for name in self.inputs}

    def _whole(self, batch: Batch) -> Batch:
        """The batch with padding for a text that none of its cases has."""
        like = next(iter(batch.values.values()))
        lacking = {
            name: torch.zeros((len(like), *self.shapes[name]), device=like.device)
            for name in self.inputs
            if name not in batch.values
        }
        return Batch({**batch.values, **lacking}, batch.size, batch.present) if lacking else batch


class TextCnn:
    """The network `text_cnn`: texts, and rows beside them, to targets that are answered from one vector."""

    name = "text_cnn"
    title = "convolutions over words"
    default = True

    def fits(self, task: Task) -> str:
        """ "" if an input is a text, the others are texts or rows, and no target is dense; else why not."""
        frames = {field.name: registry.kind(field.kind).frame for field in task.inputs}
        if "words" not in frames.values():
            return "it needs a text"
        other = [name for name, frame in frames.items() if frame not in ("words", "row")]
        if other:
            return f"it reads texts and plain columns, which {', '.join(other)} is not"
        return registry.dense_targets(task)

    def plan(
        self,
        task: Task,
        frames: Mapping[str, Settings],
        budget: Budget,  # noqa: ARG002 - the engine counts the steps
    ) -> tuple[Settings, dict[str, str]]:
        """Sizes by the number of training cases; the same settings whatever the budget."""
        cases = frames["words"]["cases"]
        inputs = [field.name for field in task.inputs]
        settings: Settings = {
            "inputs": inputs,
            "shapes": [_shape(frames, name) for name in inputs],
            "outputs": [field.name for field in task.targets],
            "dim": 64 if cases < 10_000 else 128,
            "filters": 64 if cases < 10_000 else 128,
            "widths": [1, 2, 3, 4, 5],
            "dropout": 0.5,
            "word_noise": 0.2,
            "batch": 2 ** min(max(int(math.log2(max(cases, 8) / 16)), 3), 7) if cases >= 8 else max(cases, 1),
            "optimizer": "adamw",
            "learning_rate": 2e-3 if cases < 10_000 else 1e-3,
            "weight_decay": 0.05,
        }
        return settings, {
            "inputs": "the task's, in its order",
            "shapes": "tokens by number and pieces of a text; what the row gives of a number or a category",
            "outputs": "the task's targets",
            "dim": "64; 128 from 10,000 training cases on",
            "filters": "64 a width; 128 from 10,000 training cases on; Kim 2014 had 100 beside vectors of 300",
            "widths": "one to five words: a symptom is rarely a longer phrase",
            "dropout": "half of the features, as in Kim 2014",
            "word_noise": "a fifth of the numbers of the word vectors, as few texts are soon learnt by heart",
            "batch": f"a sixteenth of the {cases} cases or less, 8 to 128: many small steps where cases are few",
            "optimizer": "AdamW (Loshchilov and Hutter 2019)",
            "learning_rate": "0.002, from 10,000 cases on 0.001: vectors that are learnt from scratch want a high one",
            "weight_decay": "0.05 on the matrices",
        }

    def build(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> Network:
        return TextNetwork(task, frames, settings)

    def infer(
        self,
        run: Runner,
        prepared: Prepared,
        frames: Mapping[str, Settings],  # noqa: ARG002 - shapes and order are in the settings
        settings: Settings,
    ) -> Outputs:
        """The whole text at once; padding where the case lacks it. One output a target, without the batch axis."""
        arrays = [
            prepared.arrays[name][None] if name in prepared.arrays else np.zeros((1, *shape), np.float32)
            for name, shape in zip(settings["inputs"], settings["shapes"], strict=True)
        ]
        return {name: output[0] for name, output in zip(settings["outputs"], run(*arrays), strict=True)}

    def shapes(self, frames: Mapping[str, Settings], settings: Settings) -> list[tuple[int, ...]]:  # noqa: ARG002
        """(1, length, 1 + pieces) of a text, (1, n) of a row."""
        return [(1, *shape) for shape in settings["shapes"]]


def _shape(frames: Mapping[str, Settings], name: str) -> list[int]:
    """Shape of a prepared input: of a text [length, 1 + pieces]; of a row [n], as the frame `row` says."""
    text = frames["words"]["texts"].get(name)
    if text is not None:
        return [text["length"], 1 + text["pieces"]]
    row = frames["row"]
    if name in row["numbers"]:
        return [2 * len(row["numbers"][name]["columns"])]
    return [len(row["categories"][name]["labels"]) + 1]


TEXT_CNN = TextCnn()
