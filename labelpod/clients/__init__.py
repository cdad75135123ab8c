"""HTTP clients of the stack's services."""
