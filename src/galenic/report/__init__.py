"""The report (one HTML file) and the model card (Markdown), from what a model folder holds."""
