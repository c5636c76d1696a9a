"""What knows no modality: the contract, the table of cases, the engine, the model folder."""
