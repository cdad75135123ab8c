"""The verbs of deploy.py: their options, and what they call."""
