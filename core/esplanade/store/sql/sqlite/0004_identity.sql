-- Two people who turned out to be one, and the contacts that vendors had of both.
CREATE INDEX IF NOT EXISTS people_merged ON people (merged_into) WHERE merged_into IS NOT NULL;
CREATE TABLE former_contacts (
  connector TEXT NOT NULL,
  remote_id TEXT NOT NULL,
  person    INTEGER NOT NULL,
  PRIMARY KEY (connector, remote_id)
) WITHOUT ROWID;
CREATE INDEX former_contacts_person ON former_contacts (person);

-- How many people the hub has put into each audience at each vendor, and what the present run takes out again.
CREATE TABLE audiences (
  connector TEXT NOT NULL,
  audience  TEXT NOT NULL,
  record    BLOB NOT NULL,
  PRIMARY KEY (connector, audience)
) WITHOUT ROWID;
