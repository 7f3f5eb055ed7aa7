CREATE TABLE mcp_pins (
  server TEXT NOT NULL,
  tool TEXT NOT NULL,
  seen TEXT NOT NULL,
  approved TEXT,
  document TEXT NOT NULL,
  warnings TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  by TEXT NOT NULL,
  PRIMARY KEY (server, tool)
) STRICT;
