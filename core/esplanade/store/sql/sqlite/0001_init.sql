-- The journal: one row per commit, holding every entry that was accepted in it.
CREATE TABLE journal (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  at      REAL    NOT NULL,
  entries INTEGER NOT NULL,
  payload BLOB    NOT NULL
);
-- Where the fold stands: every entry of every segment before it is folded, and `done` entries of the segment itself.
CREATE TABLE fold_cursor (
  one     INTEGER PRIMARY KEY CHECK (one = 1),
  segment INTEGER NOT NULL,
  done    INTEGER NOT NULL,
  folded  INTEGER NOT NULL
);
INSERT INTO fold_cursor VALUES (1, 0, 0, 0);
CREATE TABLE journal_total (
  one     INTEGER PRIMARY KEY CHECK (one = 1),
  entries INTEGER NOT NULL
);
INSERT INTO journal_total VALUES (1, 0);
CREATE TABLE event_ids (
  id TEXT PRIMARY KEY,
  at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX event_ids_at ON event_ids (at);
CREATE TABLE answers (
  source TEXT NOT NULL,
  key    TEXT NOT NULL,
  digest BLOB NOT NULL,
  status INTEGER NOT NULL,
  answer BLOB NOT NULL,
  at     REAL NOT NULL,
  PRIMARY KEY (source, key)
) WITHOUT ROWID;

-- People. `record` is the msgpack of Person; the columns beside it are for finding and for other processes.
CREATE TABLE people (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  merged_into INTEGER REFERENCES people (id),
  created_at  REAL NOT NULL,
  record      BLOB NOT NULL
);
CREATE TABLE emails (
  email_key TEXT PRIMARY KEY,
  person    INTEGER NOT NULL REFERENCES people (id)
) WITHOUT ROWID;
CREATE INDEX emails_person ON emails (person);
CREATE TABLE cdp_ids (
  cdp_id TEXT PRIMARY KEY,
  person INTEGER NOT NULL REFERENCES people (id)
) WITHOUT ROWID;
CREATE TABLE pending_consents (
  purpose TEXT NOT NULL,
  person  INTEGER NOT NULL REFERENCES people (id),
  PRIMARY KEY (purpose, person)
) WITHOUT ROWID;

-- What was said about consent; rows are never changed. The digests chain them once the audit is built.
CREATE TABLE ledger (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  person      INTEGER NOT NULL,
  purpose     TEXT NOT NULL,
  state       TEXT NOT NULL,
  method      TEXT,
  source      TEXT NOT NULL,
  evidence    BLOB NOT NULL,
  said_at     REAL NOT NULL,
  recorded_at REAL NOT NULL,
  lifts       INTEGER NOT NULL,
  chain       INTEGER,
  digest      BLOB
);
CREATE INDEX ledger_person ON ledger (person, purpose);

-- What each connector's vendor is known to hold: the base.
CREATE TABLE remotes (
  connector TEXT NOT NULL,
  person    INTEGER NOT NULL,
  remote_id TEXT,
  record    BLOB NOT NULL,
  PRIMARY KEY (connector, person)
) WITHOUT ROWID;
CREATE INDEX remotes_person ON remotes (person);
CREATE INDEX remotes_remote_id ON remotes (connector, remote_id) WHERE remote_id IS NOT NULL;

-- Work to do. `lane` is the connector, or `connector:in` for webhooks that wait to be read.
CREATE TABLE deliveries (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  lane       TEXT NOT NULL,
  kind       TEXT NOT NULL,
  person     INTEGER,
  subject    TEXT NOT NULL,
  urgency    INTEGER NOT NULL,
  state      TEXT NOT NULL,
  rev        INTEGER NOT NULL,
  due_at     REAL NOT NULL,
  first_at   REAL NOT NULL,
  attempts   INTEGER NOT NULL,
  root       TEXT NOT NULL,
  hops       INTEGER NOT NULL,
  event_id   TEXT NOT NULL,
  expires_at REAL,
  payload    BLOB NOT NULL,
  outcome    TEXT,
  reason     TEXT,
  last_error TEXT,
  force      INTEGER NOT NULL DEFAULT 0,
  done_at    REAL
);
CREATE INDEX deliveries_due ON deliveries (lane, urgency, due_at) WHERE state = 'pending';
CREATE INDEX deliveries_waiting ON deliveries (lane, person, id) WHERE state IN ('pending', 'in_flight');
CREATE INDEX deliveries_state ON deliveries (state, lane, id) WHERE state <> 'done';
CREATE INDEX deliveries_person ON deliveries (person);
CREATE INDEX deliveries_done ON deliveries (done_at) WHERE done_at IS NOT NULL;
CREATE TABLE guards (
  lane TEXT NOT NULL,
  key  BLOB NOT NULL,
  at   REAL NOT NULL,
  PRIMARY KEY (lane, key)
) WITHOUT ROWID;
CREATE TABLE attempts (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  delivery INTEGER NOT NULL,
  at       REAL NOT NULL,
  took_s   REAL NOT NULL,
  outcome  TEXT NOT NULL,
  error    TEXT
);
CREATE INDEX attempts_delivery ON attempts (delivery);

-- Why things were or were not done.
CREATE TABLE timeline (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  person    INTEGER NOT NULL,
  at        REAL NOT NULL,
  what      TEXT NOT NULL,
  connector TEXT NOT NULL,
  kind      TEXT NOT NULL,
  event_id  TEXT NOT NULL,
  reason    TEXT,
  detail    TEXT NOT NULL
);
CREATE INDEX timeline_person ON timeline (person, id);
CREATE TABLE decisions (
  person    INTEGER NOT NULL,
  connector TEXT NOT NULL,
  kind      TEXT NOT NULL,
  reason    TEXT NOT NULL,
  times     INTEGER NOT NULL,
  at        REAL NOT NULL,
  PRIMARY KEY (person, connector, kind)
) WITHOUT ROWID;
CREATE TABLE outcomes (
  connector TEXT NOT NULL,
  what      TEXT NOT NULL,
  reason    TEXT NOT NULL,
  times     INTEGER NOT NULL,
  PRIMARY KEY (connector, what, reason)
) WITHOUT ROWID;

-- Connectors, their jobs, and what they keep for themselves.
CREATE TABLE connector_states (
  name   TEXT PRIMARY KEY,
  record BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE cursors (
  connector TEXT NOT NULL,
  job       TEXT NOT NULL,
  cursor    TEXT NOT NULL,
  PRIMARY KEY (connector, job)
) WITHOUT ROWID;
CREATE TABLE ticks (
  connector TEXT NOT NULL,
  job       TEXT NOT NULL,
  slot      REAL NOT NULL,
  PRIMARY KEY (connector, job)
) WITHOUT ROWID;
CREATE TABLE seen (
  connector TEXT NOT NULL,
  purpose   TEXT NOT NULL,
  person    INTEGER NOT NULL,
  run       TEXT NOT NULL,
  PRIMARY KEY (connector, purpose, person)
) WITHOUT ROWID;
CREATE TABLE plugin_values (
  connector TEXT NOT NULL,
  key       TEXT NOT NULL,
  value     BLOB NOT NULL,
  PRIMARY KEY (connector, key)
) WITHOUT ROWID;
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;
