"""Named by monailabel when it is imported; nothing here calls it."""
