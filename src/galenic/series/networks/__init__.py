"""Networks for histories and waveforms."""
