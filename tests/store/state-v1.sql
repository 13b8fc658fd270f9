-- A state file as schema 1 wrote it. Never edited: it stands for the files that are out there.
CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL);
CREATE TABLE position (
    source TEXT NOT NULL,
    file TEXT NOT NULL,     -- JSON of the file's identity, or null
    path BLOB,              -- bytes: a file name need not be UTF-8
    place TEXT NOT NULL,    -- JSON, with an empty path
    at INTEGER NOT NULL,
    UNIQUE (source, file)
);
CREATE TABLE state (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL);
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    space TEXT NOT NULL,
    message INTEGER NOT NULL,
    severity INTEGER NOT NULL,
    body TEXT NOT NULL,
    draft TEXT NOT NULL,
    plain INTEGER NOT NULL,
    born INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    due INTEGER NOT NULL,
    last_error TEXT
);
CREATE TRIGGER outbox_never_changes
BEFORE UPDATE OF id, space, message, severity, body, draft, plain, born ON outbox
BEGIN SELECT RAISE(ABORT, 'a committed message never changes'); END;
CREATE TABLE dead (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    space TEXT NOT NULL,
    message INTEGER NOT NULL,
    severity INTEGER NOT NULL,
    body TEXT NOT NULL,
    draft TEXT NOT NULL,
    plain INTEGER NOT NULL,
    born INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    due INTEGER NOT NULL,
    last_error TEXT
);

INSERT INTO meta VALUES ('now', CAST('{"wall":1800000000042,"tick":42}' AS BLOB));
INSERT INTO meta VALUES ('install', CAST('0123456789abcdef' AS BLOB));
INSERT INTO meta VALUES ('version', CAST('0.0.1' AS BLOB));
INSERT INTO position VALUES ('files', '{"dev":1,"ino":1,"born":-7}', x'2f7661722f6c6f672f636166e92e6c6f67', '{"file":{"path":"","offset":100,"size":110,"proof":{"len":256,"hash":18446744073709551614},"head":{"len":256,"hash":18446744073709551614},"marks":[{"offset":1,"proof":{"len":256,"hash":18446744073709551614}}],"skipping":true,"hit_early":["disk-full"]}}', 5);
INSERT INTO position VALUES ('journal', 'null', NULL, '{"journal":{"cursor":"s=1;i=2"}}', 6);
INSERT INTO state VALUES ('judge/clock', '{"a":1}');
-- the drafts are filled in by the test
INSERT INTO outbox VALUES (1, '00000000000000000000000000000001', 'ops', 1, 1, '{"text":"no space left on device 1"}', 'DRAFT-1', 0, 1001, 0, 1, NULL);
INSERT INTO dead VALUES (1, '00000000000000000000000000000002', 'ops', 2, 1, '{"text":"no space left on device 2"}', 'DRAFT-2', 0, 1002, 3, 2, '400 bad request');
PRAGMA user_version = 1;
