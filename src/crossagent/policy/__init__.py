"""The policy: one transformers model, its tokenizer, its prompt format and its samplers."""
