// Package view is the fold of the event log into tables. Nothing else writes
// to these tables: drop them, replay the log with the same fold that live
// writes use, and every row is the same again (see Check and Rebuild).
//
// # Versions of the tables
//
// The tables have a version. A program that wants others than those that serve
// makes them by a rebuild, in the background and beside everything else (see
// Upgrade). To change the tables, and so to add a column:
//
//  1. Change create and tables to what they shall be, add one to current.version,
//     and name each new column in current.since with that version. A column never
//     changes its type: prepared statements of running programs have it. Set
//     current.level to event.Level as it is then: that fences older replicas.
//  2. Let the fold write the column. Inserts leave it out by themselves as long as
//     the old tables serve; an UPDATE asks fold.has.
//  3. A query that needs it asks Version first, and answers as the version before
//     did while that is lower. Nothing else may be assumed of old tables.
//
// The steps in schema are how version 1 came about. They end: what comes later
// comes by a rebuild. Only what no record of an existing log fills gets a step: what
// is no fold of the log, and the table of a new kind of event.
package view

// schema are the steps by which databases came to version 1 of the tables.
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
`}

// names are what a set of tables is called: the suffix is "" for those that serve.
type names struct{ suffix string }

func (n names) of(table string) string { return table + n.suffix }

// layout is how the tables are, in one version.
type layout struct {
	version int64
	// level of package event that a program knows which knows this version: others
	// would leave columns out that are new, so they are fenced when the tables are exchanged.
	level  int
	create func(n names) string
	// since names the columns that came after version 1, as table.column, and the version that brought each.
	since map[string]int64
}

// has reports whether tables of a version have the column.
func (l layout) has(column string, version int64) bool { return l.since[column] <= version }

// current is what this program makes. Version 2 has the index of storage_locations
// by the time of the check, which was by position.
var current = layout{version: 2, create: create}

// create is the text that makes the tables; both engines take these types. Digests
// are raw sums of 32 bytes, times microseconds since 1970 in UTC, "position"
// columns refer to the event that made the row what it is. Names of indexes are
// of the whole schema, so they have the suffix too, and keep it.
func create(n names) string {
	return `
CREATE TABLE ` + n.of("packages") + ` (
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
CREATE INDEX ` + n.of("packages_manifest") + ` ON ` + n.of("packages") + ` (manifest_sha256);

CREATE TABLE ` + n.of("package_files") + ` (
	package    BIGINT NOT NULL, -- packages.position
	number     BIGINT NOT NULL, -- from 0, in the manifest's order
	path       TEXT   NOT NULL,
	sha256     BYTEA  NOT NULL,
	executable BIGINT NOT NULL, -- 0 or 1
	media_type TEXT   NOT NULL,
	producer   TEXT   NOT NULL, -- packages.producer: who holds a blob is asked at every read by digest
	PRIMARY KEY (package, path)
);
CREATE INDEX ` + n.of("package_files_holders") + ` ON ` + n.of("package_files") + ` (sha256, producer);

CREATE TABLE ` + n.of("blobs") + ` (
	sha256 BYTEA PRIMARY KEY,
	blake3 BYTEA  NOT NULL,
	size   BIGINT NOT NULL
);
CREATE INDEX ` + n.of("blobs_blake3") + ` ON ` + n.of("blobs") + ` (blake3);

CREATE TABLE ` + n.of("storage_locations") + ` (
	backend_id TEXT   NOT NULL,
	sha256     BYTEA  NOT NULL,
	state      TEXT   NOT NULL, -- live or failed
	reason     TEXT   NOT NULL, -- why it failed: corrupt, missing or abandoned
	detail     TEXT   NOT NULL,
	changed    BIGINT NOT NULL, -- position of the event that set the state
	checked    BIGINT NOT NULL, -- position of the log at the last verification finding, 0 if never
	checked_us BIGINT NOT NULL, -- and its time; both are more than a fold: see observe.go
	PRIMARY KEY (sha256, backend_id)
);
CREATE INDEX ` + n.of("storage_locations_checked") + ` ON ` + n.of("storage_locations") + ` (backend_id, checked_us, sha256);

CREATE TABLE ` + n.of("backends") + ` (
	id         TEXT PRIMARY KEY,
	name       TEXT   NOT NULL,
	driver     TEXT   NOT NULL,
	place      TEXT   NOT NULL,
	registered BIGINT NOT NULL -- position of v1.backend.registered
);
CREATE INDEX ` + n.of("backends_place") + ` ON ` + n.of("backends") + ` (place);

CREATE TABLE ` + n.of("abandoned") + ` (
	backend_id TEXT PRIMARY KEY,
	position   BIGINT NOT NULL -- of v1.backend.abandoned
);

CREATE TABLE ` + n.of("recoveries") + ` (
	position      BIGINT NOT NULL, -- of v1.log.recovered
	backend_id    TEXT   NOT NULL,
	mark_position BIGINT NOT NULL, -- of the head mark that was found there and accepted
	mark_hash     BYTEA  NOT NULL,
	held_until_us BIGINT NOT NULL, -- nothing is removed anywhere before
	PRIMARY KEY (backend_id, position)
);
`
}

// tables with the columns that order their rows, for Check. Where there may be many, it is
// by a unique index: a sort of SQLite's takes room on the machine.
var tables = []struct {
	name, order string
	columns     []string
}{
	{"packages", "position", []string{"position", "producer", "name", "version", "manifest_sha256", "manifest_size", "retention_class", "tier",
		"media_type", "annotations", "files", "bytes", "published_us", "actor", "backend_id"}},
	{"package_files", "package, path", []string{"package", "number", "path", "sha256", "executable", "media_type", "producer"}},
	{"blobs", "sha256", []string{"sha256", "blake3", "size"}},
	{"storage_locations", "sha256, backend_id", []string{"backend_id", "sha256", "state", "reason", "detail", "changed", "checked", "checked_us"}},
	{"backends", "registered", []string{"id", "name", "driver", "place", "registered"}},
	{"abandoned", "position", []string{"backend_id", "position"}},
	{"recoveries", "position, backend_id", []string{"position", "backend_id", "mark_position", "mark_hash", "held_until_us"}},
}
