"""All torch code: load models, tokenize texts, score them and train.

Both revisions are part of every result's key. Raise a revision when its file's numbers change.
"""

TRAIN_REVISION = 0
FORWARD_REVISION = 0
