"""Ways to run a trained network: each a plug that says if it can work here, at which precisions, and opens a runner."""
