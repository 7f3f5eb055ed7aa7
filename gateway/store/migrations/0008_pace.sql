-- What one agent did within a window: its calls and the rows that they changed.
CREATE INDEX calls_by_agent_and_time ON calls (agent, received_at) WHERE permitted = 1;
