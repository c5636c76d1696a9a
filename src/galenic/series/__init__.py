"""What is measured over time: irregular histories and the samples of waveforms."""
