"""Which image an annotator gets next."""
