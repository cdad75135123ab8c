"""Models of the label server, and their trainings."""
