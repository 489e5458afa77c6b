package powercut

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"testing"
	"unsafe"

	products "github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/powercut/disk"
)

// examiner opens states.
type examiner struct {
	t       *testing.T
	place   string // of the backend
	folder  string // for copies of databases
	states  int
	opened  int
	digests map[*byte]digest.Digest // of contents: a state has most from the one before
	last    [3]*byte                // the database's files
	log     contents                // what was found in them
}

// contents of a log: the digests of each package's blobs, its manifest's first.
type contents map[uint64][]digest.Digest

func newExaminer(t *testing.T, h *history) *examiner {
	return &examiner{t: t, place: h.place, folder: t.TempDir(), digests: map[*byte]digest.Digest{}}
}

// examine returns an error unless the state has all that was answered, and all that its
// own log has.
func (x *examiner) examine(state disk.State, answered []*parcel) error {
	x.states++
	if err := x.open(state); err != nil {
		return err
	}
	for _, p := range answered {
		blobs := x.log[p.Position]
		if blobs == nil || blobs[0] != p.ManifestDigest {
			return fmt.Errorf("%s was answered, and is not in the log", p.PackageRef)
		}
		if len(blobs) != len(p.files)+1 {
			return fmt.Errorf("%s has %d files, %d were pushed", p.PackageRef, len(blobs)-1, len(p.files))
		}
	}
	if len(x.log) > 0 && len(state[path.Join(x.place, storage.MarkerKey)]) == 0 {
		return errors.New("the backend has no identity")
	}
	for position, blobs := range x.log {
		for _, name := range blobs {
			content, there := state[path.Join(x.place, storage.Key(name))]
			if !there {
				return fmt.Errorf("%s of the package at %d is missing", name, position)
			}
			if x.digest(content) != name {
				return fmt.Errorf("%s of the package at %d has other bytes, %d of them", name, position, len(content))
			}
		}
	}
	return nil
}

func (x *examiner) digest(content []byte) digest.Digest {
	key := unsafe.SliceData(content)
	known, is := x.digests[key]
	if !is {
		known = digest.Of(content).SHA256
		x.digests[key] = known
	}
	return known
}

// open reads the log of the state, unless it has the same files as the state before.
func (x *examiner) open(state disk.State) error {
	files, key := disk.State{}, [3]*byte{}
	for i, end := range []string{"", "-wal", "-journal"} {
		if content, there := state[database+end]; there {
			files["registry.db"+end] = content
			key[i] = unsafe.SliceData(content)
		}
	}
	if x.log != nil && key == x.last {
		return nil
	}
	x.opened++
	folder := filepath.Join(x.folder, "state")
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	if err := files.Write(folder); err != nil {
		return err
	}
	log, err := readLog(x.t, "sqlite://"+filepath.Join(folder, "registry.db"))
	if err != nil {
		return fmt.Errorf("the database: %w", err)
	}
	x.log, x.last = log, key
	return nil
}

func readLog(t *testing.T, url string) (contents, error) {
	db, err := products.Open(t.Context(), url)
	if err != nil {
		return nil, err
	}
	defer db.Close() //nolint:errcheck // a copy
	log := contents{}
	return log, db.Read(t.Context(), func(tx products.Tx) error {
		var tables int
		if err := tx.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM sqlite_master WHERE name IN ('events', 'packages')").Scan(&tables); err != nil || tables < 2 {
			return err // it is older than the first package
		}
		var sound string
		if err := tx.QueryRowContext(t.Context(), "PRAGMA quick_check(1)").Scan(&sound); err != nil || sound != "ok" {
			return errors.Join(errors.New(sound), err)
		}
		head, err := eventlog.Check(t.Context(), tx)
		if err != nil {
			return err
		}
		maps.DeleteFunc(log, func(uint64, []digest.Digest) bool { return true })
		rows, err := tx.QueryContext(t.Context(), `
			SELECT p.position, -1, p.manifest_sha256, COALESCE(l.state, 'unknown')
			FROM packages p LEFT JOIN storage_locations l ON l.sha256 = p.manifest_sha256
			UNION ALL
			SELECT p.position, f.number, f.sha256, COALESCE(l.state, 'unknown')
			FROM packages p JOIN package_files f ON f.package = p.position LEFT JOIN storage_locations l ON l.sha256 = f.sha256
			ORDER BY 1, 2`)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err tells
		for rows.Next() {
			if err := log.add(rows, head); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

func (c contents) add(rows *sql.Rows, head eventlog.Head) error {
	var position uint64
	var number int
	var sum []byte
	var state string
	if err := rows.Scan(&position, &number, &sum, &state); err != nil {
		return err
	}
	name, err := digest.FromBytes(digest.SHA256, sum)
	if err != nil {
		return err
	}
	if state != "live" || position > head.Position {
		return fmt.Errorf("%s of the package at %d is %s, the head is %d", name, position, state, head.Position)
	}
	c[position] = append(c[position], name)
	return nil
}
