"""What is added to MONAI Label's radiology app, in its folder names: infers, trainers, activelearning."""
