"""The page that a browser begins at: what there is to do, how far it is, and what runs."""
