-- How many parts the writer of an upload may send past what is counted, by the release of the node that has claimed it: a
-- claim over that writer contests so many, whatever its own release sends. So the number may change while nodes of two
-- releases run. (Those of before this column contest three, and none of them has been released.)
ALTER TABLE uploads ADD COLUMN parts_in_flight integer NOT NULL DEFAULT 3;
