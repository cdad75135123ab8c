"""Users, secrets and the certificate."""
