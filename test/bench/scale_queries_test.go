//go:build base

package bench

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/doubt"
	"github.com/coulomb/artifact-store/pkg/registry/removal"
	sessions "github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

const (
	// queryWithin and queryTimes are what a query may take: milliseconds, and times what
	// it takes of scaleSmall packages.
	queryWithin = 20.0
	queryTimes  = 3.0
	// declaredShare of as many files as there are packages are declared in open sessions
	// of sessionFiles each.
	declaredShare = 0.6
	sessionFiles  = 10_000
	// doubted locations are in doubt, however many there are.
	doubted = 100
	// chunk is how many digests one query of a push or a sweep has.
	chunk = 500
)

// sample is what is asked for in one round.
type sample struct {
	view.Package
	file    view.File
	backend string
	digests []digest.Digest // of files
}

// BenchmarkScaleQueries has each query of the API, the controllers and the janitor answered
// 20 times, each time about something else.
func BenchmarkScaleQueries(b *testing.B) {
	packages := scaled(b)
	ours, _, _ := versionsOf(b)
	var times [2]map[string]float64
	var machines [2]string
	for i, n := range []int{scaleSmall, packages} {
		w := worldOf(b, ours, n)
		db, err := database.Open(b.Context(), "sqlite://"+w.database())
		if err != nil {
			b.Fatal(err)
		}
		if err := addScratch(b.Context(), db, n); err != nil {
			b.Fatal(err)
		}
		samples, err := samplesOf(b.Context(), db, n)
		if err != nil {
			b.Fatal(err)
		}
		times[i] = make(map[string]float64)
		for _, q := range queries {
			ms, machine := latencyOf(b, machines[i] == "", func(round int) time.Duration {
				s := samples[round%len(samples)]
				began := time.Now()
				if err := q.ask(b.Context(), db, s); err != nil {
					b.Fatalf("%s: %v", q.name, err)
				}
				return time.Since(began)
			})
			times[i][q.name] = ms
			if machine != "" {
				machines[i] = machine
			}
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		manager := w.start(b, ours)
		for _, r := range requests {
			times[i]["GET "+r.name], _ = latencyOf(b, false, func(round int) time.Duration {
				return ask(b, manager, r, samples[round%len(samples)])
			})
		}
		if err := manager.Stop(); err != nil {
			b.Fatal(err)
		}
	}
	told(fmt.Sprintf("each query: its median time of %d packages; of %d; their ratio", scaleSmall, packages), "")
	row := func(name string, times ...float64) {
		small, large := times[0], times[1]
		record(figure{"  " + name, fmt.Sprintf("%.2f ms; %.2f ms; %.1f", small, large, large/small),
			fmt.Sprintf("<= %g ms, <= %g", queryWithin, queryTimes), large > queryWithin || large > queryTimes*small})
	}
	for _, q := range queries {
		row(q.name, times[0][q.name], times[1][q.name])
	}
	for _, r := range requests {
		name := "GET " + r.name
		small, large := times[0][name], times[1][name]
		if !r.scans {
			row(name, small, large)
			continue
		}
		record(figure{"  " + name, fmt.Sprintf("%.2f ms; %.2f ms", small, large), fmt.Sprintf("<= %g ms", queryWithin), large > queryWithin})
	}
	told("  the machine before each half", machines[0]+"; "+machines[1])
}

// latencyOf is latency that waits for an idle machine only if it is told to.
func latencyOf(b *testing.B, idle bool, run func(round int) time.Duration) (ms float64, machine string) {
	if idle {
		return latency(b, run)
	}
	all := make([]time.Duration, latencyRounds)
	for round := range all {
		all[round] = run(round)
	}
	return median(all).Seconds() * 1000, ""
}

// addScratch adds open sessions and doubts, once.
func addScratch(ctx context.Context, db *database.DB, packages int) error {
	backends, err := registered(ctx, db)
	if err != nil {
		return err
	}
	there := false
	if err := db.Read(ctx, func(tx database.Tx) error {
		_, err := sessions.Get(ctx, tx, sessionID(0))
		there = err == nil
		if errors.Is(err, sessions.ErrNotFound) {
			return nil
		}
		return err
	}); err != nil || there {
		return err
	}
	files := int(declaredShare * float64(packages))
	for from := 0; from < files; from += sessionFiles {
		declared := make([]sessions.File, 0, sessionFiles)
		for i := from; i < min(from+sessionFiles, files); i++ {
			d := digest.Of(fmt.Append(nil, "declared ", i))
			declared = append(declared, sessions.File{Path: fmt.Sprintf("folder/%07d", i), Size: 4096, Digests: d})
		}
		session := sessions.Session{ID: sessionID(from / sessionFiles), Producer: "producer-0", Name: "open", Version: fmt.Sprint(from), RetentionClass: "release", Tier: "hot",
			BackendID: backends[(from/sessionFiles)%len(backends)], BackendName: "backend", Holder: fmt.Sprintf("holder-%d", from/sessionFiles), Created: time.Now(), Expires: time.Now().Add(100 * time.Hour)}
		if err := db.Write(ctx, func(tx database.Tx) error {
			return errors.Join(sessions.Create(ctx, tx, session), sessions.InsertFiles(ctx, tx, session.ID, declared))
		}); err != nil {
			return err
		}
	}
	samples, err := samplesOf(ctx, db, packages)
	if err != nil {
		return err
	}
	var rows []doubt.Row
	for i := range doubted {
		s := samples[i%len(samples)]
		rows = append(rows, doubt.Row{BackendID: s.backend, SHA256: s.digests[i/len(samples)], Reason: doubt.Unreadable, Position: 1 << 40, Since: time.Now(), Due: time.Now().Add(100 * time.Hour)})
	}
	return db.Write(ctx, func(tx database.Tx) error { return doubt.NoteNew(ctx, tx, rows) })
}

func sessionID(number int) string { return fmt.Sprintf("5d0c8f2e-0000-4000-8000-%012d", number) }

func registered(ctx context.Context, db *database.DB) (ids []string, err error) {
	err = db.Read(ctx, func(tx database.Tx) (err error) {
		ids, err = column(ctx, tx, "SELECT id FROM backends ORDER BY name")
		return err
	})
	return ids, err
}

func column(ctx context.Context, tx database.Tx, query string, args ...any) (all []string, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// samplesOf are packages all over the log, with the digests of files that follow.
func samplesOf(ctx context.Context, db *database.DB, packages int) (all []sample, err error) {
	err = db.Read(ctx, func(tx database.Tx) error {
		for i := range latencyRounds {
			var s sample
			at := scaleBackends + 1 + i*((packages-chunk)/latencyRounds)
			for s.Position == 0 { // what is at this position may be something else
				p, err := view.FindPackageAt(ctx, tx, uint64(at))
				if err != nil && !errors.Is(err, view.ErrNotFound) {
					return err
				}
				s.Package, s.backend = p, p.BackendID
				at++
			}
			var err error
			if s.file, err = view.FindFile(ctx, tx, s.Producer, s.Name, s.Version, "bin/program"); err != nil {
				return err
			}
			sums, err := column(ctx, tx, "SELECT sha256 FROM package_files WHERE package >= $1 ORDER BY package LIMIT $2", s.Position, chunk)
			if err != nil {
				return err
			}
			for _, sum := range sums {
				d, err := digest.FromBytes(digest.SHA256, []byte(sum))
				if err != nil {
					return err
				}
				s.digests = append(s.digests, d)
			}
			all = append(all, s)
		}
		return nil
	})
	return all, err
}

// query is one question to the database.
type query struct {
	name string
	ask  func(ctx context.Context, db *database.DB, s sample) error
}

func reads[T any](name string, ask func(ctx context.Context, tx database.Tx, s sample) (T, error)) query {
	return query{name, func(ctx context.Context, db *database.DB, s sample) error {
		return db.Read(ctx, func(tx database.Tx) error {
			_, err := ask(ctx, tx, s)
			return err
		})
	}}
}

var errUndo = errors.New("what was written is not kept")

// writes is what is undone at its end.
func writes(name string, ask func(ctx context.Context, tx database.Tx, s sample) error) query {
	return query{name, func(ctx context.Context, db *database.DB, s sample) error {
		err := db.Write(ctx, func(tx database.Tx) error { return errors.Join(ask(ctx, tx, s), errUndo) })
		if errors.Is(err, errUndo) {
			err = nil
		}
		return err
	}}
}

var queries = []query{
	reads("view.FindPackage", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.FindPackage(ctx, tx, s.Producer, s.Name, s.Version)
	}),
	reads("view.FindPackageAt", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.FindPackageAt(ctx, tx, s.Position)
	}),
	reads("view.FindManifest", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.FindManifest(ctx, tx, s.ManifestDigest)
	}),
	reads("view.ListPackages", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return list(ctx, tx, view.Filter{After: &[3]string{"producer-1", s.Name, s.Version}})
	}),
	reads("view.ListPackages of a producer", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return list(ctx, tx, view.Filter{Producer: s.Producer})
	}),
	reads("view.ListPackages of a name", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return list(ctx, tx, view.Filter{Producer: s.Producer, Name: s.Name})
	}),
	reads("view.ListPackages of a rare retention class", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return list(ctx, tx, view.Filter{RetentionClass: "evidence"})
	}),
	reads("view.ListPackages of a retention class of none", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return list(ctx, tx, view.Filter{RetentionClass: "nothing-has-it"})
	}),
	reads("view.ListPackages of a producer and a rare retention class", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return list(ctx, tx, view.Filter{Producer: s.Producer, RetentionClass: "evidence"})
	}),
	reads("view.ListProducers", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.ListProducers(ctx, tx, s.Producer, 20)
	}),
	reads("view.FindFile", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.FindFile(ctx, tx, s.Producer, s.Name, s.Version, s.file.Path)
	}),
	reads("view.FindBlob by SHA-256", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		_, locations, err := view.FindBlob(ctx, tx, s.file.Digests.SHA256)
		return locations, err
	}),
	reads("view.FindBlob by BLAKE3", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		_, locations, err := view.FindBlob(ctx, tx, s.file.Digests.BLAKE3)
		return locations, err
	}),
	reads("view.SHA256Of", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.SHA256Of(ctx, tx, s.file.Digests.BLAKE3)
	}),
	reads("view.Holds", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.Holds(ctx, tx, s.Producer, s.file.Digests.SHA256)
	}),
	reads("view.ListHolders", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.ListHolders(ctx, tx, s.file.Digests.SHA256, 20)
	}),
	reads("view.FindReusable of 500", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.FindReusable(ctx, tx, s.Producer, s.digests)
	}),
	reads("view.CountLive of 500", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.CountLive(ctx, tx, s.backend, s.digests)
	}),
	reads("view.FindLocated of 500", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.FindLocated(ctx, tx, s.backend, s.digests)
	}),
	reads("view.FindLive of 500", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.FindLive(ctx, tx, s.backend, s.digests)
	}),
	reads("view.FindStandings of 500", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.FindStandings(ctx, tx, s.backend, s.digests)
	}),
	reads("view.ListNotLive of 500", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.ListNotLive(ctx, tx, s.digests)
	}),
	reads("view.FindFindings", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.FindFindings(ctx, tx, s.backend)
	}),
	reads("view.LastChecked", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.LastChecked(ctx, tx, s.backend)
	}),
	reads("view.ListFailed", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.ListFailed(ctx, tx, s.backend, 10)
	}),
	reads("view.CountLocations", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		objects, _, err := view.CountLocations(ctx, tx, s.backend, false)
		return objects, err
	}),
	reads("view.CountLocations of failed ones", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		objects, _, err := view.CountLocations(ctx, tx, s.backend, true)
		return objects, err
	}),
	reads("view.ListToCheck", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.ListToCheck(ctx, tx, s.backend, false, view.UpTo{Position: 1 << 40, Checked: time.Now()}, nil, 100)
	}),
	reads("view.ListToCheck of failed ones", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.ListToCheck(ctx, tx, s.backend, true, view.UpTo{Position: 1 << 40, Checked: time.Now()}, nil, 100)
	}),
	reads("view.ListInUse", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return view.ListInUse(ctx, tx, []string{s.backend})
	}),
	reads("view.FindBackendAt", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		found, err := view.FindBackend(ctx, tx, s.backend)
		if err == nil {
			found, _, err = view.FindBackendAt(ctx, tx, found.Name, found.Place)
		}
		return found, err
	}),
	reads("view.FindAcceptedMark, HeldUntil, Generation", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		_, _, err := view.FindAcceptedMark(ctx, tx, s.backend)
		_, errHeld := view.HeldUntil(ctx, tx)
		_, errGeneration := view.Generation(ctx, tx)
		return nil, errors.Join(err, errHeld, errGeneration)
	}),
	writes("view.Observe of 500", func(ctx context.Context, tx database.Tx, s sample) error {
		return view.Observe(ctx, tx, s.backend, s.digests, 1, time.Now())
	}),
	reads("doubt.Find of 500", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return doubt.Find(ctx, tx, s.digests)
	}),
	reads("doubt.ListNotElsewhere of 500", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return doubt.ListNotElsewhere(ctx, tx, s.backend, s.digests)
	}),
	reads("doubt.Count", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return doubt.Count(ctx, tx, s.backend)
	}),
	reads("doubt.ListDue", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return doubt.ListDue(ctx, tx, time.Now().Add(1000*time.Hour), 100)
	}),
	reads("doubt.ListDamage", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		page, _, err := doubt.ListDamage(ctx, tx, doubt.Filter{Limit: 100, Bytes: 1 << 18})
		return page, err
	}),
	reads("doubt.ListDamage of a producer", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		page, _, err := doubt.ListDamage(ctx, tx, doubt.Filter{Producer: s.Producer, Limit: 100, Bytes: 1 << 18})
		return page, err
	}),
	reads("doubt.ListDamage of a package", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		page, _, err := doubt.ListDamage(ctx, tx, doubt.Filter{Producer: s.Producer, Name: s.Name, Version: s.Version, Limit: 100, Bytes: 1 << 18})
		return page, err
	}),
	writes("doubt.ForgetPast", func(ctx context.Context, tx database.Tx, _ sample) error { return doubt.ForgetPast(ctx, tx) }),
	reads("upload.FindClaimed of 1", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return sessions.FindClaimed(ctx, tx, s.backend, s.digests[:1])
	}),
	reads("upload.FindClaimed of 500", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return sessions.FindClaimed(ctx, tx, s.backend, s.digests)
	}),
	reads("upload.ListExpired", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return sessions.ListExpired(ctx, tx, time.Now(), 20)
	}),
	reads("upload.UsageOf, OldestEmpty", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		_, err := sessions.UsageOf(ctx, tx, "holder-0", time.Now())
		_, errOldest := sessions.OldestEmpty(ctx, tx, "holder-0")
		return nil, errors.Join(err, ignoreNotFound(errOldest))
	}),
	reads("removal.FindBlobs of 500", func(ctx context.Context, tx database.Tx, s sample) (any, error) {
		return removal.FindBlobs(ctx, tx, s.backend, s.digests, time.Now())
	}),
	writes("removal.ForgetOld", func(ctx context.Context, tx database.Tx, s sample) error {
		return removal.ForgetOld(ctx, tx, s.backend, time.Now())
	}),
}

func ignoreNotFound(err error) error {
	if errors.Is(err, sessions.ErrNotFound) {
		return nil
	}
	return err
}

// list asks for a page as the API does.
func list(ctx context.Context, tx database.Tx, f view.Filter) ([]view.Package, error) {
	f.Limit, f.Bytes = 100, 256<<10
	page, err := view.ListPackages(ctx, tx, f)
	return page.Packages, err
}
