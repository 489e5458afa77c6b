// Package fold has the tables of the views, and the fold of the event log into them. Its
// queries are in package view; what may be changed in the tables, and how, is said there.
package fold

import (
	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry/event"
)

// Schema are the steps by which databases came to version 1 of the tables.
var Schema = []string{`
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
`, `
CREATE TABLE view_state (
	id         BIGINT PRIMARY KEY CHECK (id = 1),
	version    BIGINT NOT NULL, -- of the tables that serve
	generation BIGINT NOT NULL, -- of the rebuild that made them, 0 if none did
	started    BIGINT NOT NULL, -- generation of the last rebuild, or check, that began
	holder     TEXT   NOT NULL, -- whose it is while it runs, else ''
	until_us   BIGINT NOT NULL  -- the holder's claim ends then, unless it is renewed
);
INSERT INTO view_state VALUES (1, 1, 0, 0, '', 0);
`, `
-- No record of before fills it, so it needs no rebuild.
CREATE TABLE recoveries (
	position      BIGINT NOT NULL, -- of v1.log.recovered
	backend_id    TEXT   NOT NULL,
	mark_position BIGINT NOT NULL, -- of the head mark that was found there and accepted
	mark_hash     BYTEA  NOT NULL,
	held_until_us BIGINT NOT NULL, -- nothing is removed anywhere before
	PRIMARY KEY (backend_id, position)
);
`, `
-- Empty until the tables of version 3 serve: before, a backend that is given up
-- has its locations updated. Queries read it in any version.
CREATE TABLE abandonments (
	backend_id TEXT   NOT NULL,
	position   BIGINT NOT NULL, -- of v1.backend.abandoned
	PRIMARY KEY (backend_id, position)
);
`, `
-- No record of before fills them, so they need no rebuild.
` + tagTables(Names{}, "")}

// Names are what a set of tables is called: the suffix is "" for those that serve.
type Names struct{ Suffix string }

func (n Names) Of(table string) string { return table + n.Suffix }

// Layout is how the tables are, in one version.
type Layout struct {
	Version int64
	// level of package event that a program knows which knows this version: others
	// would leave columns out that are new, so they are fenced when the tables are exchanged.
	Level  int
	Create func(n Names, engine database.Engine) string
	// since names the columns that came after version 1, as table.column, and the version that brought each.
	Since map[string]int64
}

// Has reports whether tables of a version have the column.
func (l Layout) Has(column string, version int64) bool { return l.Since[column] <= version }

// Current is what this program makes. Version 2 has the index of storage_locations
// by the time of the check, which was by position. Version 3 counts locations as it
// folds, gives a backend up by one row, and has an index for each list.
var Current = Layout{Version: Counted, Level: event.LevelCounted, Create: create}

// Counted is the version from which on location_counts is there, and abandonments is filled.
const Counted = 3

// create is the text that makes the tables. Digests are raw sums of 32 bytes, times
// microseconds since 1970 in UTC, "position" columns refer to the event that made the
// row what it is. Names of indexes are of the whole schema, so they have the suffix
// too, and keep it.
//
// SQLite keeps the rows of a table in the order of a number of its own, and each key in
// an index beside them. It does without where the key is that number, or is said to be the order.
func create(n Names, engine database.Engine) string {
	number, byKey := "BIGINT", ""
	if engine == database.SQLite {
		number, byKey = "INTEGER", " WITHOUT ROWID"
	}
	return `
CREATE TABLE ` + n.Of("packages") + ` (
	position        ` + number + ` PRIMARY KEY, -- of v1.package.published
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
CREATE INDEX ` + n.Of("packages_manifest") + ` ON ` + n.Of("packages") + ` (manifest_sha256);
CREATE INDEX ` + n.Of("packages_name") + ` ON ` + n.Of("packages") + ` (name, producer, version);
CREATE INDEX ` + n.Of("packages_retention") + ` ON ` + n.Of("packages") + ` (retention_class, producer, name, version);

CREATE TABLE ` + n.Of("package_files") + ` (
	package    BIGINT NOT NULL, -- packages.position
	number     BIGINT NOT NULL, -- from 0, in the manifest's order
	path       TEXT   NOT NULL,
	sha256     BYTEA  NOT NULL,
	executable BIGINT NOT NULL, -- 0 or 1
	media_type TEXT   NOT NULL,
	producer   TEXT   NOT NULL, -- packages.producer: who holds a blob is asked at every read by digest
	PRIMARY KEY (package, path)
)` + byKey + `;
CREATE INDEX ` + n.Of("package_files_holders") + ` ON ` + n.Of("package_files") + ` (sha256, producer);

CREATE TABLE ` + n.Of("blobs") + ` (
	sha256 BYTEA PRIMARY KEY,
	blake3 BYTEA  NOT NULL,
	size   BIGINT NOT NULL
)` + byKey + `;
CREATE INDEX ` + n.Of("blobs_blake3") + ` ON ` + n.Of("blobs") + ` (blake3);

CREATE TABLE ` + n.Of("storage_locations") + ` (
	backend_id TEXT   NOT NULL,
	sha256     BYTEA  NOT NULL,
	state      TEXT   NOT NULL, -- live or failed, if its backend was not given up since
	reason     TEXT   NOT NULL, -- why it failed: corrupt or missing
	detail     TEXT   NOT NULL,
	changed    BIGINT NOT NULL, -- position of the event that set the state
	checked    BIGINT NOT NULL, -- position of the log at the last verification finding, 0 if never
	checked_us BIGINT NOT NULL, -- and its time; both are more than a fold: see observe.go
	PRIMARY KEY (sha256, backend_id)
)` + byKey + `;
CREATE INDEX ` + n.Of("storage_locations_checked") + ` ON ` + n.Of("storage_locations") + ` (backend_id, state, checked_us, changed, sha256);
CREATE INDEX ` + n.Of("storage_locations_failed") + ` ON ` + n.Of("storage_locations") + ` (backend_id, changed) WHERE state = 'failed';

CREATE TABLE ` + n.Of("location_counts") + ` (
	backend_id TEXT   NOT NULL,
	state      TEXT   NOT NULL,
	reason     TEXT   NOT NULL,
	locations  BIGINT NOT NULL,
	bytes      BIGINT NOT NULL,
	unchecked  BIGINT NOT NULL, -- locations of which nothing was ever found; see observe.go
	PRIMARY KEY (backend_id, state, reason)
)` + byKey + `;

CREATE TABLE ` + n.Of("backends") + ` (
	id         TEXT PRIMARY KEY,
	name       TEXT   NOT NULL,
	driver     TEXT   NOT NULL,
	place      TEXT   NOT NULL,
	registered BIGINT NOT NULL -- position of v1.backend.registered
);
CREATE INDEX ` + n.Of("backends_place") + ` ON ` + n.Of("backends") + ` (place);

CREATE TABLE ` + n.Of("abandoned") + ` (
	backend_id TEXT PRIMARY KEY,
	position   BIGINT NOT NULL -- of v1.backend.abandoned, if it was not registered again since
);

CREATE TABLE ` + n.Of("abandonments") + ` (
	backend_id TEXT   NOT NULL,
	position   BIGINT NOT NULL, -- of v1.backend.abandoned: locations that changed before have failed
	PRIMARY KEY (backend_id, position)
)` + byKey + `;

CREATE TABLE ` + n.Of("recoveries") + ` (
	position      BIGINT NOT NULL, -- of v1.log.recovered
	backend_id    TEXT   NOT NULL,
	mark_position BIGINT NOT NULL, -- of the head mark that was found there and accepted
	mark_hash     BYTEA  NOT NULL,
	held_until_us BIGINT NOT NULL, -- nothing is removed anywhere before
	PRIMARY KEY (backend_id, position)
);
` + tagTables(n, byKey)
}

// Tables with the columns that order their rows, for Check. Where there may be many, it is
// by a unique index: a sort of SQLite's takes room on the machine. since is the version
// that brought the table.
var Tables = []struct {
	Name, Order string
	Columns     []string
	Since       int64
}{
	{"packages", "position", []string{"position", "producer", "name", "version", "manifest_sha256", "manifest_size", "retention_class", "tier",
		"media_type", "annotations", "files", "bytes", "published_us", "actor", "backend_id"}, 1},
	{"package_files", "package, path", []string{"package", "number", "path", "sha256", "executable", "media_type", "producer"}, 1},
	{"blobs", "sha256", []string{"sha256", "blake3", "size"}, 1},
	{"storage_locations", "sha256, backend_id", LocationColumns, 1},
	{"backends", "registered", []string{"id", "name", "driver", "place", "registered"}, 1},
	{"abandoned", "position", []string{"backend_id", "position"}, 1},
	{"recoveries", "position, backend_id", []string{"position", "backend_id", "mark_position", "mark_hash", "held_until_us"}, 1},
	{"tags", "producer, name, tag", tagColumns, 1},
	{"tag_history", "producer, name, tag, position", historyColumns, 1},
	{"abandonments", "position", []string{"backend_id", "position"}, Counted},
	{"location_counts", "backend_id, state, reason", []string{"backend_id", "state", "reason", "locations", "bytes", "unchecked"}, Counted},
}
