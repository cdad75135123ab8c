"""The machine: packages, GPUs, ports, Docker Engine."""
