"""What happened: MLflow, plots, summaries. Imports no training."""
