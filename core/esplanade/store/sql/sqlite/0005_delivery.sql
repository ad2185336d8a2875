-- Work in few steps. A call that is under way is a row of its own, so that claiming touches neither the delivery nor its
-- indexes; each index serves one question of the fold or of a lane.
CREATE TABLE claims (
  delivery INTEGER PRIMARY KEY,
  lane     TEXT NOT NULL
);
INSERT INTO claims (delivery, lane) SELECT id, lane FROM deliveries WHERE state = 'in_flight';
UPDATE deliveries SET state = 'pending', attempts = max(attempts - 1, 0) WHERE state = 'in_flight';
ALTER TABLE deliveries ADD COLUMN unsure INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN took_s REAL;
DROP INDEX deliveries_waiting;
DROP INDEX deliveries_state;
DROP INDEX deliveries_person;
CREATE INDEX deliveries_person ON deliveries (person, lane, state);
CREATE INDEX deliveries_kept ON deliveries (id, lane, state) WHERE state IN ('parked', 'dead');

-- How much waits to be folded follows from the journal and the cursor.
DROP TABLE journal_total;
ALTER TABLE fold_cursor DROP COLUMN folded;
