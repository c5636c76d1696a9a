"""One file a file format, reading and writing side by side: files become galenic.values and nothing else."""
