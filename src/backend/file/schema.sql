CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE stream (
  number INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  greatest_ms INTEGER NOT NULL,
  greatest_seq INTEGER NOT NULL,
  length INTEGER NOT NULL,
  expires_ms INTEGER,
  ended INTEGER NOT NULL
);
CREATE INDEX stream_expiry ON stream (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE TABLE event (
  stream INTEGER NOT NULL,
  ms INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  type TEXT NOT NULL,
  run_id TEXT, flow_name TEXT, step_name TEXT, step_id TEXT, attempt TEXT, instance_id TEXT, worker_id TEXT,
  queue TEXT, trigger_name TEXT, correlation_id TEXT, causation_id TEXT,
  data TEXT,
  PRIMARY KEY (stream, ms, seq)
) WITHOUT ROWID;
CREATE TABLE repeat (
  stream INTEGER NOT NULL,
  key TEXT NOT NULL,
  ms INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  count INTEGER NOT NULL,
  until_ms INTEGER NOT NULL,
  PRIMARY KEY (stream, key)
) WITHOUT ROWID;
CREATE INDEX repeat_until ON repeat (until_ms);
CREATE TABLE gone (number INTEGER PRIMARY KEY);
CREATE TABLE member (key TEXT NOT NULL, id TEXT NOT NULL, score REAL NOT NULL, PRIMARY KEY (key, id)) WITHOUT ROWID;
CREATE INDEX member_score ON member (key, score, id);
