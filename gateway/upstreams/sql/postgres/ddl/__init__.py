"""Schema changes and their way back: DROP by quarantine, everything else by a proven inverse."""
