package service_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/test/servers"
	"github.com/coulomb/artifact-store/test/size"
)

func onBoth(t *testing.T, test func(t *testing.T, w *sweepWorld)) {
	for name, url := range map[string]func(*testing.T) string{
		"sqlite": func(*testing.T) string { return "" }, "postgresql": func(t *testing.T) string { return servers.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newSweepWorld(t, url(t), time.Hour, nil))
		})
	}
}

// loggedRun is what an event says of a run.
type loggedRun struct {
	Digests []digest.Digest
	Run     *struct {
		ID                         string
		From, To                   uint64
		Verified, Corrupt, Missing int
		List                       digest.Digest
	}
}

// logged are the kinds of the events after a position, and the runs among them.
func logged(t *testing.T, w *sweepWorld, after uint64) (kinds string, runs []loggedRun) {
	t.Helper()
	page, err := w.services[0].ReadEvents(context.Background(), registry.EventQuery{After: after})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Events {
		kinds += strings.TrimPrefix(e.Kind, "v1.storage.") + " "
		if e.Kind == event.KindLocationVerified {
			var r loggedRun
			if err := json.Unmarshal(e.Payload, &r); err != nil {
				t.Fatal(err)
			}
			runs = append(runs, r)
		}
	}
	return strings.TrimSpace(kinds), runs
}

func head(t *testing.T, w *sweepWorld) uint64 {
	t.Helper()
	at, err := w.services[0].LogHead(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return at.Position
}

func list(t *testing.T, w *sweepWorld) registry.LocationPage {
	t.Helper()
	page, err := w.services[0].ListLocations(context.Background(), "one", registry.LocationQuery{})
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// TestRunOfSeveralReports: only what changes is logged at once, the run at its end.
func TestRunOfSeveralReports(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *sweepWorld) {
		ctx, s := context.Background(), w.services[0]
		a, b, c := digest.Of([]byte("a")).SHA256, digest.Of([]byte("b")).SHA256, digest.Of([]byte("c")).SHA256
		w.publish(t, "1", map[string][]byte{"a": []byte("a"), "b": []byte("b"), "c": []byte("c")})
		record := func(found registry.VerifyFindings) registry.RecordedFindings {
			t.Helper()
			recorded, err := s.RecordFindings(ctx, "one", found)
			if err != nil {
				t.Fatal(err)
			}
			return recorded
		}
		first := list(t, w)
		report := func(run string, verified []digest.Digest, failed ...verify.FailedLocation) registry.VerifyFindings {
			return registry.VerifyFindings{Run: run, Position: first.Position, AsOf: first.AsOf, Verified: verified, Failed: failed}
		}
		before := first.Position
		if got := record(report("r", []digest.Digest{a})); got.Recorded != 1 || head(t, w) != before {
			t.Errorf("%+v at %d: what was as before is no event", got, head(t, w))
		}
		if got := record(report("r", []digest.Digest{a})); got.Superseded != 1 {
			t.Errorf("%+v: the same report again", got)
		}
		record(report("r", nil, verify.FailedLocation{SHA256: b, Reason: "missing"}))
		record(report("r", []digest.Digest{c}))
		if kinds, _ := logged(t, w, before); kinds != "location_failed" {
			t.Errorf("logged before the end: %s", kinds)
		}
		end := registry.VerifyFindings{Run: "r", End: true}
		record(end)
		record(end) // nobody knows whether the first was heard
		kinds, runs := logged(t, w, before+1)
		if kinds != "location_verified" || len(runs) != 1 {
			t.Fatalf("logged at the end: %s", kinds)
		}
		sum := sha256.Sum256(append(a.Bytes(), c.Bytes()...))
		if r := runs[0]; len(r.Digests) != 0 || r.Run.ID != "r" || r.Run.Verified != 2 || r.Run.Missing != 1 || r.Run.Corrupt != 0 ||
			r.Run.From != before || r.Run.To != before || r.Run.List != digest.New(digest.SHA256, sum) {
			t.Errorf("%+v", r.Run)
		}

		// b is missing still, which is no news, and then it is there again, which is.
		first = list(t, w)
		before = first.Position
		record(report("s", nil, verify.FailedLocation{SHA256: b, Reason: "missing"}))
		if kinds, _ := logged(t, w, before); kinds != "" {
			t.Errorf("logged of what had failed before: %s", kinds)
		}
		first = list(t, w)
		record(report("s", []digest.Digest{b}))
		if kinds, runs := logged(t, w, before); kinds != "location_verified" || !slices.Equal(runs[0].Digests, []digest.Digest{b}) || runs[0].Run != nil {
			t.Errorf("logged of what is right again: %s, %+v", kinds, runs)
		}
		if found, err := s.Findings(ctx, w.tables[0].Backends()[0].ID); err != nil || found.Failed != 0 {
			t.Errorf("%+v, %v", found, err)
		}
		for i, found := range []registry.VerifyFindings{{Run: "s"}, {End: true, Position: before, Verified: []digest.Digest{a}}, {Run: strings.Repeat("x", verify.MaxRun+1), End: true}} {
			var invalid *registry.InvalidError
			if _, err := s.RecordFindings(ctx, "one", found); !errors.As(err, &invalid) {
				t.Errorf("%d: %v", i, err)
			}
		}
		checkViews(t, w.url)
	})
}

// TestInterruptedRun: what it found stands, the next one begins with what it
// did not see, and after a while it has its event.
func TestInterruptedRun(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *sweepWorld) {
		ctx := context.Background()
		files := map[string][]byte{}
		for i := range 9 {
			files[fmt.Sprint(i)] = fmt.Appendf(nil, "content %d", i)
		}
		w.publish(t, "1", files)
		first := list(t, w)
		var seen []digest.Digest
		for _, l := range first.Locations[:4] {
			seen = append(seen, l.Digests.SHA256)
		}
		if _, err := w.services[0].RecordFindings(ctx, "one", registry.VerifyFindings{Run: "killed", Position: first.Position, AsOf: first.AsOf, Verified: seen}); err != nil {
			t.Fatal(err)
		}
		w.another(t) // another replica: nothing is in memory only
		for i, l := range list(t, w).Locations {
			if l.Verified.IsZero() != (i < 6) {
				t.Errorf("location %d was checked at %s", i, l.Verified)
			}
		}
		before := head(t, w)
		if err := w.services[1].EndSilentRuns(ctx); err != nil || head(t, w) != before {
			t.Errorf("it may still go on: %v", err)
		}
		w.advanced.Add(int64(3 * time.Hour))
		for _, s := range w.services {
			if err := s.EndSilentRuns(ctx); err != nil {
				t.Error(err)
			}
		}
		if kinds, runs := logged(t, w, before); kinds != "location_verified" || runs[0].Run.ID != "killed" || runs[0].Run.Verified != 4 {
			t.Errorf("%s: %+v", kinds, runs)
		}
		report, err := w.services[1].VerifyBackend(ctx, "one", registry.VerifyOptions{}, nil)
		if err != nil || report.Verified != 10 {
			t.Errorf("%+v, %v", report, err)
		}
		if kinds, runs := logged(t, w, before+1); kinds != "location_verified" || runs[0].Run.Verified != 10 {
			t.Errorf("%s: %+v", kinds, runs)
		}
		checkViews(t, w.url)
	})
}

// TestYearOfVerification: blobs, each looked at once a week, 10,000 in make soak. It computes
// what these 52 runs are in the log, and what they were when each event named its digests.
func TestYearOfVerification(t *testing.T) {
	t.Parallel()
	const runs = 52
	blobs := size.Of(1000, 10_000)
	ctx := context.Background()
	url := "sqlite://" + filepath.Join(t.TempDir(), "registry.db")
	w := newSweepWorld(t, url, time.Hour, nil)
	db, err := database.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	id := w.tables[0].Backends()[0].ID
	publishWithoutBytes(t, db, id, blobs)
	before := logBytes(t, db)

	old, oldRecords := 0, 0
	for range runs {
		run, first := fmt.Sprintf("%032d", w.advanced.Add(int64(7*24*time.Hour))), uint64(0)
		for query := (registry.LocationQuery{}); ; {
			page, err := w.services[0].ListLocations(ctx, "one", query)
			if err != nil {
				t.Fatal(err)
			}
			first = max(first, page.Position)
			found := registry.VerifyFindings{Run: run, End: page.Next == "", Position: page.Position, AsOf: page.AsOf}
			named := event.LocationVerified{BackendID: id}
			for _, l := range page.Locations {
				found.Verified = append(found.Verified, l.Digests.SHA256)
				named.SHA256 = append(named.SHA256, l.Digests.SHA256.Bytes())
			}
			recorded, err := w.services[0].RecordFindings(ctx, "one", found)
			if err != nil || recorded.Recorded != len(page.Locations) {
				t.Fatalf("%+v, %v", recorded, err)
			}
			e, err := event.New("operator", named)
			if err != nil {
				t.Fatal(err)
			}
			old, oldRecords = old+len(e.Payload)+recordBytes, oldRecords+1
			if query.After = page.Next; page.Next == "" {
				break
			}
		}
		if first != head(t, w)-1 {
			t.Fatalf("a run that found nothing new is %d events", head(t, w)-first)
		}
	}
	now := logBytes(t, db) - before
	t.Logf("%d blobs, %d runs: %d records of %d bytes before, %d of %d bytes now", blobs, runs, oldRecords, old, runs, now)
	if now > 500*runs || now*blobs/20 > old {
		t.Errorf("the log has grown by %d bytes; naming each digest took %d", now, old)
	}
	if _, err := view.New(db).Check(ctx, view.Progress{}); err != nil {
		t.Error(err)
	}
}

// recordBytes are a record's columns beside the payload: three numbers, two hashes, and kind, actor and subject.
const recordBytes = 2*8 + 2*32 + len(event.KindLocationVerified) + len("operator") + 36

func logBytes(t *testing.T, db *database.DB) (n int) {
	t.Helper()
	ctx := context.Background()
	if err := db.Read(ctx, func(tx database.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT SUM(16 + length(previous) + length(hash) + length(kind) + length(actor) + length(subject) + length(payload)) FROM events`).Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// publishWithoutBytes logs a package of as many blobs, its manifest among them. Nobody reads them here.
func publishWithoutBytes(t *testing.T, db *database.DB, backendID string, blobs int) {
	t.Helper()
	m := &manifest.Manifest{Producer: "p", Name: "n", Version: "1"}
	for i := range blobs - 1 {
		m.Files = append(m.Files, manifest.File{Path: fmt.Sprintf("%06d", i), Size: 6, Digests: digest.Of(fmt.Appendf(nil, "%06d", i))})
	}
	encoded, err := manifest.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	log, err := eventlog.Open(context.Background(), db, view.New(db).Apply, time.Now, eventlog.Knows(event.Level))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := log.Append(context.Background(), func(context.Context, database.Tx) ([]eventlog.Event, error) {
		return event.NewAll("test", []event.Payload{event.PackagePublished{Producer: "p", Name: "n", Version: "1", RetentionClass: "r", Tier: "hot", Backends: []string{backendID}, Manifest: encoded}})
	}); err != nil {
		t.Fatal(err)
	}
}
