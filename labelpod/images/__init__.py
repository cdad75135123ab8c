"""The container images: how they are made and what is in them."""
