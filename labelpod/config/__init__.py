"""Settings: .env, its file, and the addresses that follow from it."""
