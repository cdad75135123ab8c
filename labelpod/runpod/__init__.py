"""A rented GPU at RunPod: the template, the pod and what it costs."""
