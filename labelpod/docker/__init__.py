"""Docker Engine and the stack that runs on it."""
