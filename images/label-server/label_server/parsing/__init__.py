"""Reading what clients send, in processes that can do nothing else."""
