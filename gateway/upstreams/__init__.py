"""What is protected: parse, capture, execute and revert of one kind live together."""
