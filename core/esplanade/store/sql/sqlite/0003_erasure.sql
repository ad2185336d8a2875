-- Erasure and suppression.
-- Erasures under way and done. The record of one that is done holds no word of its person.
CREATE TABLE erasures (
  person INTEGER PRIMARY KEY,
  stage  TEXT NOT NULL,
  record BLOB NOT NULL
);
CREATE INDEX erasures_open ON erasures (stage) WHERE stage <> 'done';
-- Keyed digests of what erased people were known by, so that nothing brings them back unasked.
CREATE TABLE suppressions (
  digest BLOB PRIMARY KEY,
  kind   TEXT NOT NULL,
  person INTEGER NOT NULL,
  at     REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX suppressions_person ON suppressions (person);
INSERT INTO meta (key, value) VALUES ('suppression_key', lower(hex(randomblob(32))));

CREATE INDEX cdp_ids_person ON cdp_ids (person);
CREATE INDEX pending_consents_person ON pending_consents (person);
CREATE INDEX answers_at ON answers (at);

-- Rows deleted before now were not overwritten: the file is written anew once, when it is next opened.
INSERT INTO meta (key, value) SELECT 'rewrite_due', '1' WHERE EXISTS (SELECT 1 FROM journal_total WHERE entries > 0);
