// Package view is the fold of the event log into tables. Nothing else writes
// to these tables: drop them, replay the log with the same Apply that live
// writes use, and every row is the same again (see Check).
package view

import (
	"context"

	"github.com/coulomb/artifact-store/pkg/database"
)

// schema of the views; both engines take these types. Digests are raw sums of
// 32 bytes, times microseconds since 1970 in UTC, "position" columns refer to
// the event that made the row what it is.
var schema = []string{`
CREATE TABLE packages (
	position        BIGINT PRIMARY KEY, -- of v1.package.published
	producer        TEXT   NOT NULL,
	name            TEXT   NOT NULL,
	version         TEXT   NOT NULL,
	manifest_sha256 BYTEA  NOT NULL,
	manifest_size   BIGINT NOT NULL,
	retention_class TEXT   NOT NULL,
	tier            TEXT   NOT NULL,
	media_type      TEXT   NOT NULL,
	annotations     TEXT   NOT NULL, -- JSON object, keys sorted
	files           BIGINT NOT NULL,
	bytes           BIGINT NOT NULL, -- sum over the files
	published_us    BIGINT NOT NULL,
	actor           TEXT   NOT NULL,
	backend_id      TEXT   NOT NULL, -- first of the event's backends
	UNIQUE (producer, name, version)
);
CREATE INDEX packages_manifest ON packages (manifest_sha256);

CREATE TABLE package_files (
	package    BIGINT NOT NULL, -- packages.position
	number     BIGINT NOT NULL, -- from 0, in the manifest's order
	path       TEXT   NOT NULL,
	sha256     BYTEA  NOT NULL,
	executable BIGINT NOT NULL, -- 0 or 1
	media_type TEXT   NOT NULL,
	PRIMARY KEY (package, path)
);
CREATE INDEX package_files_sha256 ON package_files (sha256);

CREATE TABLE blobs (
	sha256 BYTEA PRIMARY KEY,
	blake3 BYTEA  NOT NULL,
	size   BIGINT NOT NULL
);
CREATE INDEX blobs_blake3 ON blobs (blake3);

CREATE TABLE storage_locations (
	backend_id TEXT   NOT NULL,
	sha256     BYTEA  NOT NULL,
	state      TEXT   NOT NULL, -- live or failed
	reason     TEXT   NOT NULL, -- why it failed: corrupt, missing or abandoned
	detail     TEXT   NOT NULL,
	changed    BIGINT NOT NULL, -- position of the event that set the state
	checked    BIGINT NOT NULL, -- position of the last verification finding, 0 if never
	checked_us BIGINT NOT NULL, -- and its time
	PRIMARY KEY (sha256, backend_id)
);
CREATE INDEX storage_locations_checked ON storage_locations (backend_id, checked, sha256);

CREATE TABLE backends (
	id         TEXT PRIMARY KEY,
	name       TEXT   NOT NULL,
	driver     TEXT   NOT NULL,
	place      TEXT   NOT NULL,
	registered BIGINT NOT NULL -- position of v1.backend.registered
);
CREATE INDEX backends_place ON backends (place);
`, `
CREATE TABLE abandoned (
	backend_id TEXT PRIMARY KEY,
	position   BIGINT NOT NULL -- of v1.backend.abandoned
);
`, `
-- Who holds a blob is asked at every read by digest.
ALTER TABLE package_files ADD COLUMN producer TEXT NOT NULL DEFAULT ''; -- packages.producer
UPDATE package_files SET producer = (SELECT p.producer FROM packages p WHERE p.position = package_files.package);
DROP INDEX package_files_sha256;
CREATE INDEX package_files_holders ON package_files (sha256, producer);
`}

// tables with the columns that order their rows, for Check: numbers, raw bytes
// and UUIDs, because engines may order other text differently.
var tables = []struct{ name, order, columns string }{
	{"packages", "position", "position, producer, name, version, manifest_sha256, manifest_size, retention_class, tier, media_type, annotations, files, bytes, published_us, actor, backend_id"},
	{"package_files", "package, number", "package, number, path, sha256, executable, media_type, producer"},
	{"blobs", "sha256", "sha256, blake3, size"},
	{"storage_locations", "sha256, backend_id", "backend_id, sha256, state, reason, detail, changed, checked, checked_us"},
	{"backends", "registered", "id, name, driver, place, registered"},
	{"abandoned", "position", "backend_id, position"},
}

// Migrate creates the tables that are missing.
func Migrate(ctx context.Context, db *database.DB) error { return db.Migrate(ctx, "view", schema) }
