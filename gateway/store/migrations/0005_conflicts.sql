-- Every conflict of a revert, in the order of the list; the job itself holds the first few.
CREATE TABLE conflicts (
  revert TEXT NOT NULL,
  number INTEGER NOT NULL,
  call TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (revert, number)
) STRICT, WITHOUT ROWID;
