"""The classic 2-D U-Net in Keras on TensorFlow, CPU. Speaks `forward` and `train`.

Ronneberger, Fischer, Brox, "U-Net" (2015), with same-padded convolutions and one sigmoid output. The calls are the
ones users make: compile, predict_on_batch, train_on_batch.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from machine import usable_cpus, versions
from speak import serve

PARAMETERS = 31_030_593
JIT = {"auto": "auto", "on": True, "off": False}


def double_conv(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    for _ in range(2):
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
    return x


def unet(size: int, widths: tuple[int, ...] = (64, 128, 256, 512, 1024)) -> keras.Model:
    """[n, size, size, 1] to probabilities of the same shape."""
    x = image = keras.Input((size, size, 1))
    skips = []
    for width in widths[:-1]:
        x = double_conv(x, width)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = double_conv(x, widths[-1])
    for width, skip in zip(widths[-2::-1], reversed(skips), strict=True):
        x = layers.Conv2DTranspose(width, 2, strides=2)(x)
        x = double_conv(layers.Concatenate()([skip, x]), width)
    probability = layers.Conv2D(1, 1, activation="sigmoid", dtype="float32")(x)
    return keras.Model(image, probability)


class Bench:
    """One compiled model, one batch, and the two things that are timed."""

    def __init__(self, *, batch: int, size: int, jit: str) -> None:
        keras.utils.set_random_seed(0)
        self.model = unet(size)
        if self.model.count_params() != PARAMETERS:
            count = self.model.count_params()
            raise SystemExit(f"the model has {count:,} parameters; the classic U-Net has {PARAMETERS:,}")
        self.model.compile(keras.optimizers.SGD(1e-3), loss="binary_crossentropy", jit_compile=JIT[jit])
        rng = np.random.default_rng(0)
        self.image = tf.constant(rng.random((batch, size, size, 1), dtype=np.float32))
        self.mask = tf.constant((rng.random((batch, size, size, 1)) > 0.5).astype(np.float32))

    def forward(self) -> dict[str, float]:
        return {"mean_output": float(self.model.predict_on_batch(self.image).mean())}

    def train(self) -> dict[str, float]:
        # Keras reports its running mean of the loss; without a reset it would be the mean over all calls.
        self.model.reset_metrics()
        return {"loss": float(self.model.train_on_batch(self.image, self.mask))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--jit", choices=sorted(JIT), default="auto", help="XLA; auto is Keras' own choice")
    parser.add_argument("--bf16", action="store_true", help="the mixed_bfloat16 policy, as a careful user would")
    given = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(given.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if given.bf16:
        keras.config.set_dtype_policy("mixed_bfloat16")
    bench = Bench(batch=given.batch, size=given.size, jit=given.jit)
    name = f"keras {'bf16' if given.bf16 else 'fp32'}, XLA {given.jit}"
    commands = {"forward": bench.forward, "train": bench.train}
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    serve(name, commands, versions=versions(["keras", "tensorflow-cpu", "numpy"]), threads=threads)


if __name__ == "__main__":
    main()
