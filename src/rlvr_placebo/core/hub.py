"""The Hugging Face hub: what was fetched before is found without a network."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlparse


def reachable() -> bool:
    """Whether the hub's name can be resolved: known at once, where a request retries for long.

    Behind a proxy, names need not be known here; then it may be.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return True
    try:
        socket.getaddrinfo(urlparse(constants.ENDPOINT).hostname, None)
    except OSError:
        return False
    return True
