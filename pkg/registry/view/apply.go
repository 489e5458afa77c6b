package view

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry/event"
)

// States of a location.
const (
	StateLive   = "live"
	StateFailed = "failed"
)

// ReasonAbandoned is why a location failed without being read: its backend was
// given up. The other reasons are those of event.LocationFailed.
const ReasonAbandoned = "abandoned"

// fold is what turns records into rows of some tables.
type fold struct {
	names
	layout
	// version of the tables: that of the layout, or an earlier one.
	version int64
}

// apply folds records into the tables, in the transaction in which they are appended or
// replayed. It depends on the records and the tables alone: no clock, no randomness, no
// scratch. Packages that follow each other are inserted together.
func (f fold) apply(ctx context.Context, tx database.Tx, records []eventlog.Record) error {
	packages := publications{fold: f}
	for _, rec := range records {
		if err := packages.apply(ctx, tx, rec); err != nil {
			return err
		}
	}
	return packages.flush(ctx, tx)
}

func applying(rec eventlog.Record, err error) error {
	if err != nil {
		err = fmt.Errorf("applying event %d (%s): %w", rec.Position, rec.Kind, err)
	}
	return err
}

func (w *publications) apply(ctx context.Context, tx database.Tx, rec eventlog.Record) error {
	payload, err := event.Decode(rec.Event)
	if err != nil {
		return applying(rec, err)
	}
	rec.Payload = nil // it may have tens of megabytes, and is not needed any more
	if p, is := payload.(event.PackagePublished); is {
		if w.first == 0 {
			w.first = rec.Position
		}
		w.last = rec.Position
		return w.add(ctx, tx, rec, p)
	}
	if err := w.flush(ctx, tx); err != nil {
		return err
	}
	return applying(rec, w.applyOther(ctx, tx, rec, payload))
}

// applyOther folds a record that publishes no package.
func (f fold) applyOther(ctx context.Context, tx database.Tx, rec eventlog.Record, payload event.Payload) (err error) {
	switch p := payload.(type) {
	case event.BackendRegistered:
		err = f.applyRegistered(ctx, tx, rec, p)
	case event.BackendAbandoned:
		err = f.applyAbandoned(ctx, tx, rec, p)
	case event.LocationAdded:
		err = f.applyAdded(ctx, tx, rec, p)
	case event.LocationVerified:
		err = f.applyVerified(ctx, tx, rec, p)
	case event.LocationFailed:
		_, err = tx.ExecContext(ctx, `UPDATE `+f.of("storage_locations")+`
			SET changed = CASE WHEN state = 'failed' AND reason = $1 THEN changed ELSE $2 END,
			    state = 'failed', reason = $1, detail = $3, checked = $2, checked_us = $4
			WHERE backend_id = $5 AND sha256 = $6`,
			p.Reason, rec.Position, p.Detail, rec.Time.UnixMicro(), p.BackendID, p.SHA256)
	case event.LogRecovered:
		err = f.applyRecovered(ctx, tx, rec, p)
	default:
		err = fmt.Errorf("%s has no fold", rec.Kind)
	}
	return err
}

func (f fold) applyRegistered(ctx context.Context, tx database.Tx, rec eventlog.Record, p event.BackendRegistered) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM `+f.of("abandoned")+` WHERE backend_id = $1`, p.BackendID); err != nil {
		return err
	}
	return f.insert(ctx, tx, "backends", []string{"id", "name", "driver", "place", "registered"},
		[][]any{{p.BackendID, p.Name, p.Driver, p.Place, rec.Position}},
		`ON CONFLICT (id) DO UPDATE SET name = excluded.name, driver = excluded.driver, place = excluded.place, registered = excluded.registered`)
}

// applyAbandoned fails every location of the backend, also those that had failed otherwise.
func (f fold) applyAbandoned(ctx context.Context, tx database.Tx, rec eventlog.Record, p event.BackendAbandoned) error {
	if err := f.insert(ctx, tx, "abandoned", []string{"backend_id", "position"}, [][]any{{p.BackendID, rec.Position}},
		`ON CONFLICT (backend_id) DO UPDATE SET position = excluded.position`); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE `+f.of("storage_locations")+` SET state = 'failed', reason = $1, detail = '', changed = $2
		WHERE backend_id = $3 AND reason <> $1`, ReasonAbandoned, rec.Position, p.BackendID)
	return err
}

// rowsAtOnce of one table are held: a manifest may have 100,000 files.
const rowsAtOnce = 4000

// publications gathers the rows of packages.
type publications struct {
	fold
	first, last                       uint64 // positions of the events whose rows are here
	packages, files, blobs, locations [][]any
	seen                              map[digest.Digest]bool // among blobs
	located                           map[location]bool      // among locations: a statement may not have a row twice
}

// location is a blob in a backend.
type location struct {
	backend string
	blob    digest.Digest
}

// add gathers the rows of one package.
func (w *publications) add(ctx context.Context, tx database.Tx, rec eventlog.Record, p event.PackagePublished) error {
	if len(p.Backends) == 0 {
		return applying(rec, fmt.Errorf("%s names no backend", p.Subject()))
	}
	var (
		files int
		bytes int64
	)
	m, err := manifest.Walk(p.Manifest, func(number int, file manifest.File) error {
		files, bytes = files+1, bytes+file.Size
		executable := 0
		if file.Executable {
			executable = 1
		}
		w.files = append(w.files, []any{rec.Position, number, file.Path, file.Digests.SHA256.Bytes(), executable, file.MediaType, p.Producer})
		w.addBlob(rec, p.Backends, file.Digests, file.Size)
		if len(w.files) < rowsAtOnce {
			return nil
		}
		return w.flush(ctx, tx)
	})
	if err != nil {
		return err
	}
	sealed := digest.Of(p.Manifest)
	w.addBlob(rec, p.Backends, sealed, int64(len(p.Manifest)))
	annotations := []byte("{}")
	if len(m.Annotations) > 0 {
		if annotations, err = json.Marshal(m.Annotations); err != nil { // sorts the keys
			return err
		}
	}
	w.packages = append(w.packages, []any{rec.Position, p.Producer, p.Name, p.Version, sealed.SHA256.Bytes(), len(p.Manifest),
		p.RetentionClass, p.Tier, m.MediaType, string(annotations), files, bytes, rec.Time.UnixMicro(), rec.Actor, p.Backends[0]})
	return nil
}

// addBlob gathers the row of a blob, and its locations: it is one row, however many files
// share it, and live since the first of them.
func (w *publications) addBlob(rec eventlog.Record, backends []string, d digest.Dual, size int64) {
	if w.seen == nil {
		w.seen, w.located = make(map[digest.Digest]bool), make(map[location]bool)
	}
	sha := d.SHA256.Bytes()
	if !w.seen[d.SHA256] {
		w.seen[d.SHA256] = true
		w.blobs = append(w.blobs, []any{sha, d.BLAKE3.Bytes(), size})
	}
	for _, id := range backends {
		if at := (location{id, d.SHA256}); !w.located[at] {
			w.located[at] = true
			w.locations = append(w.locations, liveRow(rec, id, sha))
		}
	}
}

// flush inserts the rows.
func (w *publications) flush(ctx context.Context, tx database.Tx) error {
	if len(w.files) == 0 && len(w.packages) == 0 {
		return nil
	}
	if err := w.insertAll(ctx, tx); err != nil {
		return fmt.Errorf("applying events %d to %d: %w", w.first, w.last, err)
	}
	*w = publications{fold: w.fold, first: w.last, last: w.last, packages: w.packages[:0], files: w.files[:0], blobs: w.blobs[:0], locations: w.locations[:0]}
	return nil
}

func (w *publications) insertAll(ctx context.Context, tx database.Tx) error {
	if err := w.insert(ctx, tx, "package_files", []string{"package", "number", "path", "sha256", "executable", "media_type", "producer"}, w.files, ""); err != nil {
		return err
	}
	if err := w.insert(ctx, tx, "blobs", []string{"sha256", "blake3", "size"}, w.blobs, "ON CONFLICT (sha256) DO NOTHING"); err != nil {
		return err
	}
	if err := w.insertLive(ctx, tx, w.locations); err != nil {
		return err
	}
	return w.insert(ctx, tx, "packages", []string{"position", "producer", "name", "version", "manifest_sha256", "manifest_size",
		"retention_class", "tier", "media_type", "annotations", "files", "bytes", "published_us", "actor", "backend_id"}, w.packages, "")
}

// applyAdded makes locations live.
func (f fold) applyAdded(ctx context.Context, tx database.Tx, rec eventlog.Record, p event.LocationAdded) error {
	rows := make([][]any, len(p.SHA256))
	for i, sum := range p.SHA256 {
		rows[i] = liveRow(rec, p.BackendID, sum)
	}
	return f.insertLive(ctx, tx, rows)
}

func liveRow(rec eventlog.Record, backend string, sum []byte) []any {
	return []any{backend, sum, StateLive, "", "", rec.Position, 0, 0}
}

// insertLive inserts locations that are live. One that had failed is live again: its
// bytes were stored anew.
func (f fold) insertLive(ctx context.Context, tx database.Tx, rows [][]any) error {
	return f.insert(ctx, tx, "storage_locations",
		[]string{"backend_id", "sha256", "state", "reason", "detail", "changed", "checked", "checked_us"}, rows,
		`ON CONFLICT (sha256, backend_id) DO UPDATE SET state = excluded.state, reason = '', detail = '', changed = excluded.changed
		 WHERE `+f.of("storage_locations")+`.state <> 'live'`)
}

func (f fold) applyVerified(ctx context.Context, tx database.Tx, rec eventlog.Record, p event.LocationVerified) error {
	if len(p.SHA256) == 0 {
		return nil // the record of a run: no state has changed
	}
	args := []any{rec.Position, rec.Time.UnixMicro(), p.BackendID}
	for _, sum := range p.SHA256 {
		args = append(args, sum)
	}
	_, err := tx.ExecContext(ctx, `UPDATE `+f.of("storage_locations")+`
		SET changed = CASE WHEN state = 'live' THEN changed ELSE $1 END,
		    state = 'live', reason = '', detail = '', checked = $1, checked_us = $2
		WHERE backend_id = $3 AND sha256 IN (`+database.Parameters(4, len(p.SHA256))+`)`, args...)
	return err
}

// insert leaves out the columns that tables of an earlier version lack.
func (f fold) insert(ctx context.Context, tx database.Tx, table string, columns []string, rows [][]any, suffix string) error {
	if f.version < f.layout.version {
		columns, rows = f.known(table, columns, rows)
	}
	_, err := database.InsertRows(ctx, tx, f.of(table), columns, rows, suffix)
	return err
}

func (f fold) known(table string, columns []string, rows [][]any) ([]string, [][]any) {
	var keep []int
	var left []string
	for i, column := range columns {
		if f.has(table+"."+column, f.version) {
			keep, left = append(keep, i), append(left, column)
		}
	}
	shorter := make([][]any, len(rows))
	for i, row := range rows {
		for _, k := range keep {
			shorter[i] = append(shorter[i], row[k])
		}
	}
	return left, shorter
}
