"""Models as files: weights, where they came from, archives of them, and their trainings."""
