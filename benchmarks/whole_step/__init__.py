"""What benchmarks/train_step.py is made of, without torch: shapes, tokens, logs, checkpoints, the table."""
