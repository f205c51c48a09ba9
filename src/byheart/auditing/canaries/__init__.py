"""Plant canaries in training data, and audit a model with them."""
