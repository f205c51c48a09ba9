"""What libraries say to their developers, and of each try to reach the Hub, is no news to ours' users."""

from __future__ import annotations

import logging
import os
import warnings


def silence_library_warnings() -> None:
    """Keep libraries' chatter out of this process' output; what matters is said by what is raised."""
    warnings.simplefilter("ignore", FutureWarning)
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # read when it is imported, which may be later
    for library in ("huggingface_hub", "bitsandbytes"):
        logging.getLogger(library).setLevel(logging.ERROR)
