"""MLflow: what is sent, by whom, and what waits to be sent."""
