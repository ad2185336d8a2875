-- The consent ledger as a chained record. A row is linked to the one before it in its chain: `chain` is its person % 64,
-- `seal` the salted digest of its words (method, source, evidence), `digest` its link, over all its other columns, its seal
-- and the link before. Rows written earlier are linked by the program, in the transaction of this migration.
ALTER TABLE ledger ADD COLUMN seal BLOB;

-- Where each chain ends: its number of rows and its last link.
CREATE TABLE ledger_tips (
  chain INTEGER PRIMARY KEY,
  links INTEGER NOT NULL,
  link  BLOB    NOT NULL
);
-- The salt of the words of a person's rows from the row `since` on; the words of earlier rows are erased. Without a salt
-- nobody can check a guess at words that are gone.
CREATE TABLE ledger_salts (
  person INTEGER PRIMARY KEY,
  since  INTEGER NOT NULL,
  salt   BLOB    NOT NULL
);

-- Who was merged into a person, for reading their rows with those of the person.
CREATE INDEX people_merged ON people (merged_into) WHERE merged_into IS NOT NULL;
