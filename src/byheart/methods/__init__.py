"""Fine-tuning methods: each returns the trained module and its learning rate for a base model."""
