"""What upstream's sample apps call their own package."""
