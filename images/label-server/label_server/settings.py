"""The limits, and what else the container's environment sets for several files; each has a default."""

import os
import re
from ipaddress import ip_network


def limit(name: str, default: int) -> int:
    """A whole number from the environment."""
    return int(os.environ.get(name) or default)


MAX_BODY_BYTES = limit("MAX_BODY_MB", 2048) * 2**20
MAX_VOLUME_BYTES = limit("MAX_VOLUME_MB", 1024) * 2**20
MAX_HEADER_BYTES = limit("MAX_HEADER_KB", 32) * 2**10
MAX_REQUESTS_PER_USER = limit("MAX_REQUESTS_PER_USER", 16)
SLOW_CLIENT_SECONDS = limit("SLOW_CLIENT_SECONDS", 20)
INFER_QUEUE = limit("INFER_QUEUE", 8)
SAMPLE_LEASE_SECONDS = 60 * limit("SAMPLE_LEASE", 30)
# Nothing has come of a series for so long: it is complete.
SERIES_QUIET_SECONDS = limit("SERIES_QUIET_SECONDS", 5)
CACHE_MAX_BYTES = limit("CACHE_MAX_GB", 50) * 2**30
LOG_FORMAT = os.environ.get("LOG_FORMAT") or "text"
FOREIGN_LABELS = os.environ.get("FOREIGN_LABELS") or "listed"
# Whose X-Forwarded-For and X-Forwarded-Proto count: addresses and networks, and names in the stack's own network.
_PROXIES = os.environ.get("TRUSTED_PROXY", "").replace(",", " ").split()
TRUSTED_NAMES = tuple(each for each in _PROXIES if re.fullmatch("[a-z][a-z-]*", each))
TRUSTED_PROXIES = tuple(ip_network(each) for each in _PROXIES if each not in TRUSTED_NAMES)
# RunPod's proxy, which speaks HTTPS to browsers, is the only way in from outside, and has no address that it tells.
IN_POD = bool(os.environ.get("RUNPOD_POD_ID"))
