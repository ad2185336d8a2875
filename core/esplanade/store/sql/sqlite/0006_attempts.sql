-- Of an attempt that failed: the request and the answer, as far as they may be told (JSON of an Exchange).
ALTER TABLE attempts ADD COLUMN exchange TEXT;
