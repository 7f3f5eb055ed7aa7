"""HTTP tools: what a request means, what its route declares, and the bytes that go out."""
