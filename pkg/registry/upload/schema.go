// Package upload keeps upload sessions in tables beside the log and its views.
// Losing these tables loses sessions that were not published, nothing else.
//
// The row of a declared file is also the intent that precedes its Put: while it
// exists, no sweep may remove an object of that digest as an orphan. A file that
// is declared without digests protects nothing until they are known. Until then
// a sweep relies on the object's age, and Publish on the rows of package removal,
// which say what it has to look at again.
package upload

import (
	"context"

	"github.com/coulomb/artifact-store/pkg/database"
)

var schema = []string{`
CREATE TABLE uploads (
	id              TEXT PRIMARY KEY,
	producer        TEXT   NOT NULL,
	name            TEXT   NOT NULL,
	version         TEXT   NOT NULL,
	retention_class TEXT   NOT NULL,
	tier            TEXT   NOT NULL,
	media_type      TEXT   NOT NULL,
	annotations     TEXT   NOT NULL, -- JSON object
	backend_id      TEXT   NOT NULL, -- the placement, fixed at open
	backend_name    TEXT   NOT NULL,
	actor           TEXT   NOT NULL,
	state           TEXT   NOT NULL, -- open or published
	revision        BIGINT NOT NULL, -- raised by whatever changes what Publish would seal
	created_us      BIGINT NOT NULL,
	expires_us      BIGINT NOT NULL
);
CREATE INDEX uploads_expires ON uploads (expires_us);

CREATE TABLE upload_files (
	upload_id  TEXT   NOT NULL,
	path       TEXT   NOT NULL,
	folded     TEXT   NOT NULL, -- the path in Unicode NFC
	size       BIGINT NOT NULL, -- -1 until known
	sha256     BYTEA,           -- NULL until known
	blake3     BYTEA,           -- NULL until known
	executable BIGINT NOT NULL,
	media_type TEXT   NOT NULL,
	PRIMARY KEY (upload_id, path)
);
CREATE UNIQUE INDEX upload_files_folded ON upload_files (upload_id, folded);

-- Bytes that the session has, by content: files that share bytes share a row.
CREATE TABLE upload_blobs (
	upload_id TEXT   NOT NULL,
	sha256    BYTEA  NOT NULL,
	blake3    BYTEA  NOT NULL,
	size      BIGINT NOT NULL,
	source    TEXT   NOT NULL, -- 'sent': stored in the placement by this session; 'reused': another package's
	PRIMARY KEY (upload_id, sha256)
);

-- Pieces of files that are sent in several requests.
CREATE TABLE upload_parts (
	upload_id TEXT   NOT NULL,
	path      TEXT   NOT NULL,
	start     BIGINT NOT NULL, -- offset in the file
	size      BIGINT NOT NULL,
	sha256    BYTEA  NOT NULL, -- of the piece
	PRIMARY KEY (upload_id, path, start)
);
`, `
-- Blobs that a sweep is removing from a backend or has removed.
CREATE TABLE sweeping (
	backend_id TEXT   NOT NULL,
	sha256     BYTEA  NOT NULL,
	sweep      TEXT   NOT NULL, -- the batch that wrote the row
	state      TEXT   NOT NULL, -- removing or removed
	begun_us   BIGINT NOT NULL,
	until_us   BIGINT NOT NULL, -- when a sweep that died while removing can have no request under way any more
	PRIMARY KEY (backend_id, sha256)
);
`, `
-- What one holder has, see Usage.
ALTER TABLE uploads ADD COLUMN holder TEXT NOT NULL DEFAULT '';
ALTER TABLE uploads ADD COLUMN files BIGINT NOT NULL DEFAULT 0; -- declared
ALTER TABLE uploads ADD COLUMN texts BIGINT NOT NULL DEFAULT 0; -- bytes of paths, media types and annotations
CREATE INDEX uploads_holder ON uploads (holder, state, created_us);
`, `
-- A sweep asks of each orphan whether a session claims it.
CREATE INDEX upload_files_sha256 ON upload_files (sha256);
CREATE INDEX upload_blobs_sha256 ON upload_blobs (sha256);
CREATE INDEX upload_parts_sha256 ON upload_parts (sha256);
`}

// Migrate creates the tables that are missing.
func Migrate(ctx context.Context, db *database.DB) error { return db.Migrate(ctx, "upload", schema) }
