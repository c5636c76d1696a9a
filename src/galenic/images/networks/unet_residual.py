"""The planned U-Net with a residual encoder, whatever the budget: `unet` decides for itself, this one is asked for.

Isensee et al., nnU-Net Revisited, MICCAI 2024 (the ResEnc presets).
"""

from __future__ import annotations

from galenic.images.networks.unet import UNet

UNET_RESIDUAL = UNet("unet_residual", residual=True)
