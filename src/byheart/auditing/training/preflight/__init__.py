"""Before the first step: are the watched texts in the training data, and do they receive loss?"""
