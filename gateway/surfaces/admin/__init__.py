"""What people do with the admin token. Every act is recorded before it happens."""
