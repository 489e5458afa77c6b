package fold

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

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

// Fold is what turns records into rows of some tables.
type Fold struct {
	Names
	Layout
	// Version of the tables: that of the layout, or an earlier one.
	Version int64
	// Forget the payload of each record as soon as it is decoded: nobody else needs it, and
	// it may have tens of megabytes.
	Forget bool
}

// Apply folds records into the tables, in the transaction in which they are appended or
// replayed. It depends on the records and the tables alone: no clock, no randomness, no
// scratch. Packages that follow each other are inserted together.
func (f Fold) Apply(ctx context.Context, tx database.Tx, records []eventlog.Record) error {
	packages := publications{Fold: f}
	for i := range records {
		if err := packages.apply(ctx, tx, &records[i]); err != nil {
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

func (w *publications) apply(ctx context.Context, tx database.Tx, record *eventlog.Record) error {
	payload, err := event.Decode(record.Event)
	if err != nil {
		return applying(*record, err)
	}
	if w.Forget {
		record.Payload = nil
	}
	rec := *record
	rec.Payload = nil
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
func (f Fold) applyOther(ctx context.Context, tx database.Tx, rec eventlog.Record, payload event.Payload) (err error) {
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
		err = f.applyFailed(ctx, tx, rec, p)
	case event.LogRecovered:
		err = f.applyRecovered(ctx, tx, rec, p)
	case event.TagSet:
		err = f.applyTagSet(ctx, tx, rec, p)
	case event.TagRemoved:
		err = f.applyTagRemoved(ctx, tx, rec, p)
	default:
		err = fmt.Errorf("%s has no fold", rec.Kind)
	}
	return err
}

// rowsAtOnce of one table are held: a manifest may have 100,000 files.
const rowsAtOnce = 4000

// publications gathers the rows of packages.
type publications struct {
	Fold
	first, last                       uint64 // positions of the events whose rows are here
	packages, files, blobs, locations [][]any
	sizes                             map[digest.Digest]int64 // of blobs
	located                           map[location]bool       // among locations: a statement may not have a row twice
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
	if w.sizes == nil {
		w.sizes, w.located = make(map[digest.Digest]int64), make(map[location]bool)
	}
	sha := d.SHA256.Bytes()
	if _, seen := w.sizes[d.SHA256]; !seen {
		w.sizes[d.SHA256] = size
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
	*w = publications{Fold: w.Fold, first: w.last, last: w.last, packages: w.packages[:0], files: w.files[:0], blobs: w.blobs[:0], locations: w.locations[:0]}
	return nil
}

func (w *publications) insertAll(ctx context.Context, tx database.Tx) error {
	if err := w.leaveKnown(ctx, tx); err != nil {
		return err
	}
	// In the order of the keys, a page of them is read once for all that it has.
	slices.SortFunc(w.blobs, func(a, b []any) int { return bytes.Compare(a[0].([]byte), b[0].([]byte)) })
	slices.SortFunc(w.locations, func(a, b []any) int { return bytes.Compare(a[1].([]byte), b[1].([]byte)) })
	if _, err := w.insert(ctx, tx, "package_files", []string{"package", "number", "path", "sha256", "executable", "media_type", "producer"}, w.files, ""); err != nil {
		return err
	}
	fresh, err := w.insert(ctx, tx, "blobs", []string{"sha256", "blake3", "size"}, w.blobs, "ON CONFLICT (sha256) DO NOTHING")
	if err != nil {
		return err
	}
	// A blob that is new has no location yet.
	if err := w.insertLive(ctx, tx, w.locations, w.sizes, fresh == int64(len(w.blobs))); err != nil {
		return err
	}
	_, err = w.insert(ctx, tx, "packages", []string{"position", "producer", "name", "version", "manifest_sha256", "manifest_size",
		"retention_class", "tier", "media_type", "annotations", "files", "bytes", "published_us", "actor", "backend_id"}, w.packages, "")
	return err
}

// manyBlobs are looked at for what is live as it was: most of a tree that is published again.
const manyBlobs = 1000

// leaveKnown takes out the blobs that are there and live where they would be: nothing of
// them changes. Some of these stay. If it finds few, it stops.
func (w *publications) leaveKnown(ctx context.Context, tx database.Tx) error {
	if len(w.blobs) <= manyBlobs || len(w.locations) != len(w.blobs) || w.Version < Counted {
		return nil
	}
	backend := w.locations[0][0].(string)
	gaveUp, err := LastAbandonment(ctx, tx, w.Names, backend)
	if err != nil {
		return err
	}
	known := make(map[string]bool)
	for chunk := range slices.Chunk(w.locations, 500) {
		sums := make([][]byte, 0, len(chunk))
		for _, row := range chunk {
			if row[0].(string) != backend {
				return nil
			}
			sums = append(sums, row[1].([]byte))
		}
		live, err := CountLive(ctx, tx, w.Names, backend, gaveUp, sums)
		if err != nil {
			return err
		}
		if live < len(chunk)/2 {
			break
		}
		for _, sum := range sums {
			if live == len(sums) {
				known[string(sum)] = true
			}
		}
	}
	is := func(sum any) bool { return known[string(sum.([]byte))] }
	w.blobs = slices.DeleteFunc(w.blobs, func(row []any) bool { return is(row[0]) })
	w.locations = slices.DeleteFunc(w.locations, func(row []any) bool { return is(row[1]) })
	return nil
}

// insert leaves out the columns that tables of an earlier version lack. It returns how
// many rows were inserted or updated.
func (f Fold) insert(ctx context.Context, tx database.Tx, table string, columns []string, rows [][]any, suffix string) (int64, error) {
	if f.Version < f.Layout.Version {
		columns, rows = f.known(table, columns, rows)
	}
	return database.InsertRows(ctx, tx, f.Of(table), columns, rows, suffix)
}

func (f Fold) known(table string, columns []string, rows [][]any) ([]string, [][]any) {
	var keep []int
	var left []string
	for i, column := range columns {
		if f.Has(table+"."+column, f.Version) {
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

func (f Fold) applyRecovered(ctx context.Context, tx database.Tx, rec eventlog.Record, p event.LogRecovered) error {
	until := rec.Time.Add(time.Duration(p.HoldSeconds) * time.Second).UnixMicro()
	rows := make([][]any, len(p.Marks))
	for i, m := range p.Marks {
		if len(m.Hash) != 32 {
			return fmt.Errorf("the hash of the mark of %s has %d bytes", m.BackendID, len(m.Hash))
		}
		rows[i] = []any{rec.Position, m.BackendID, int64(m.Position), m.Hash, until}
	}
	_, err := f.insert(ctx, tx, "recoveries", []string{"position", "backend_id", "mark_position", "mark_hash", "held_until_us"}, rows, "")
	return err
}
