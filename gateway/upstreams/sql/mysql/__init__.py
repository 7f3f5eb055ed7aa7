"""MariaDB: what parses, judges, captures, executes and reverts there."""
