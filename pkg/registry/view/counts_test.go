package view_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// history makes events at random about a few backends and packages that share files, so
// that locations fail, are given up, are found again and are stored anew in any order.
type history struct {
	*rand.Rand
	position uint64
	packages int
	// blobs by backend: those that have a location there
	located map[string][]digest.Digest
}

func (h *history) next(t *testing.T) eventlog.Record {
	t.Helper()
	backend := fmt.Sprintf("%08d-1111-4111-8111-111111111111", h.IntN(3))
	some := func(n int) (sums [][]byte) {
		all := h.located[backend]
		for _, i := range h.Perm(len(all))[:min(n, len(all))] {
			sums = append(sums, all[i].Bytes())
		}
		return sums
	}
	var payload event.Payload
	switch n := h.IntN(20); {
	case h.position < 3:
		backend = fmt.Sprintf("%08d-1111-4111-8111-111111111111", h.position)
		payload = event.BackendRegistered{BackendID: backend, Name: backend, Driver: "local", Place: "/" + backend}
	case n == 0:
		payload = event.BackendRegistered{BackendID: backend, Name: backend, Driver: "local", Place: "/" + backend}
	case n == 1:
		payload = event.BackendAbandoned{BackendID: backend, Name: backend}
	case n < 5 && len(h.located[backend]) > 0:
		payload = event.LocationFailed{BackendID: backend, SHA256: some(1)[0], Reason: []string{event.ReasonCorrupt, event.ReasonMissing}[h.IntN(2)], Detail: "at random"}
	case n < 8 && len(h.located[backend]) > 0:
		payload = event.LocationVerified{BackendID: backend, SHA256: some(1 + h.IntN(5))}
	case n < 10 && len(h.located[backend]) > 0:
		payload = event.LocationAdded{BackendID: backend, SHA256: some(1 + h.IntN(5))}
	default:
		published, err := packageOf(fmt.Sprint(h.packages), h.IntN(9), 1+h.IntN(4))
		must(t, err)
		published.Backends = []string{backend}
		if h.IntN(3) == 0 {
			published.Backends = []string{"00000000-1111-4111-8111-111111111111", "00000001-1111-4111-8111-111111111111"}
		}
		h.packages++
		for _, id := range published.Backends {
			for _, d := range contentsOf(t, published) {
				if !slices.Contains(h.located[id], d) {
					h.located[id] = append(h.located[id], d)
				}
			}
		}
		payload = published
	}
	h.position++
	made, err := event.New("a", payload)
	must(t, err)
	return eventlog.Record{Position: h.position, Time: time.UnixMicro(int64(h.position) * 1e6).UTC(), Event: made}
}

// TestCounts folds random histories three ways: into tables of version 1, where every row
// of a backend that is given up is written; into those of today; and into those again,
// several records at a time. All must say the same, and the counts what the rows say.
func TestCounts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := &history{Rand: rand.New(rand.NewPCG(seed, 0)), located: map[string][]digest.Digest{}}
			open := func(name string) *database.DB {
				db, err := database.Open(ctx, "sqlite://"+filepath.Join(t.TempDir(), name))
				must(t, err)
				t.Cleanup(func() { db.Close() }) //nolint:errcheck // nothing depends on it
				return db
			}
			old, one, bulk := open("old"), open("one"), open("bulk")
			must(t, view.Migrate(ctx, old))
			views := []*view.Views{view.New(old), opened(t, one), opened(t, bulk)}
			fold := func(i int, db *database.DB, records ...eventlog.Record) {
				must(t, db.Write(ctx, func(tx database.Tx) error { return views[i].Fold(ctx, tx, records) }))
			}
			var pending []eventlog.Record
			for range 80 {
				record := h.next(t)
				fold(0, old, record)
				fold(1, one, record)
				pending = append(pending, record)
				if h.IntN(4) == 0 {
					fold(2, bulk, pending...)
					pending = nil
					if a, b := dump(t, one), dump(t, bulk); a != b {
						t.Fatalf("at %d, by one and in bulk (-one +bulk):\n%s", h.position, cmp.Diff(strings.Split(a, "\n"), strings.Split(b, "\n")))
					}
				}
				was, is := dump(t, old), dump(t, one)
				if !strings.HasPrefix(is, was) {
					t.Fatalf("at %d, %s (-version 1 +today):\n%s", h.position, record.Kind, cmp.Diff(strings.Split(was, "\n"), strings.Split(is, "\n")))
				}
				if backend := "00000001-1111-4111-8111-111111111111"; pending == nil && len(h.located[backend]) > 0 {
					seen := h.located[backend][h.IntN(len(h.located[backend])):][:1]
					for _, db := range []*database.DB{old, one, bulk} { // it is in no event
						must(t, db.Write(ctx, func(tx database.Tx) error { return view.Observe(ctx, tx, backend, seen, h.position, record.Time) }))
					}
				}
				if h.position%5 == 0 {
					same(t, h, one, old)
				}
			}
		})
	}
}

// same compares what is counted with what the rows say, and with tables without counts.
func same(t *testing.T, h *history, counted, plain *database.DB) {
	t.Helper()
	ctx := context.Background()
	for i := range 3 {
		backend := fmt.Sprintf("%08d-1111-4111-8111-111111111111", i)
		var got [2]string
		for j, db := range []*database.DB{counted, plain} {
			must(t, db.Read(ctx, func(tx database.Tx) error {
				f, err := view.FindFindings(ctx, tx, backend)
				must(t, err)
				objects, bytes, err := view.CountLocations(ctx, tx, backend, false)
				must(t, err)
				failed, failedBytes, err := view.CountLocations(ctx, tx, backend, true)
				must(t, err)
				used, err := view.ListInUse(ctx, tx, []string{backend})
				must(t, err)
				at, content, err := view.FindBackendAt(ctx, tx, backend, "/"+backend)
				if err != nil && !errors.Is(err, view.ErrNotFound) {
					t.Fatal(err)
				}
				list, err := view.ListFailed(ctx, tx, backend, 5)
				must(t, err)
				got[j] = fmt.Sprintf("%+v\n%d %d %d %d\n%v %v %v\n%v\n", f, objects, bytes, failed, failedBytes, used, at, content, list)
				upTo := view.UpTo{Position: h.position, Checked: time.UnixMicro(1 << 60)}
				for _, onlyFailed := range []bool{false, true} {
					got[j] += listed(t, tx, backend, onlyFailed, upTo)
				}
				live, err := view.FindLive(ctx, tx, backend, h.located[backend])
				must(t, err)
				standings, err := view.FindStandings(ctx, tx, backend, h.located[backend])
				must(t, err)
				reusable, err := view.FindReusable(ctx, tx, "p", h.located[backend])
				must(t, err)
				dead, err := view.ListNotLive(ctx, tx, h.located[backend])
				must(t, err)
				got[j] += fmt.Sprint(live, standings, reusable, dead)
				for _, d := range h.located[backend] {
					blob, locations, err := view.FindBlob(ctx, tx, d)
					must(t, err)
					got[j] += fmt.Sprint(blob, locations)
				}
				return nil
			}))
		}
		if got[0] != got[1] {
			t.Fatalf("backend %d at %d (-by rows +counted):\n%s", i, h.position, cmp.Diff(strings.Split(got[1], "\n"), strings.Split(got[0], "\n")))
		}
	}
}

// listed pages through what is to be checked, and returns it sorted: tables without
// counts have another order among those that were never checked.
func listed(t *testing.T, tx database.Tx, backend string, onlyFailed bool, upTo view.UpTo) string {
	t.Helper()
	var (
		after *view.ToCheck
		all   []string
		last  time.Time
	)
	for {
		page, err := view.ListToCheck(context.Background(), tx, backend, onlyFailed, upTo, after, 3)
		must(t, err)
		if len(page) == 0 {
			slices.Sort(all)
			if len(slices.Compact(slices.Clone(all))) != len(all) {
				t.Fatalf("listed twice: %v", all)
			}
			return fmt.Sprintln(all)
		}
		for _, l := range page {
			if l.CheckedAt.Before(last) {
				t.Fatalf("%v comes after %v", l.CheckedAt, last)
			}
			last = l.CheckedAt
			all = append(all, fmt.Sprint(l.Digests.SHA256, l.Size, l.CheckedAt.UnixMicro()))
		}
		after = &page[len(page)-1]
	}
}

// packageOf has files that packages of the same number share.
func packageOf(version string, number, files int) (event.PackagePublished, error) {
	m := &manifest.Manifest{Producer: "p", Name: "n", Version: version}
	for i := range files {
		content := fmt.Append(nil, strings.Repeat("x", number), i)
		m.Files = append(m.Files, manifest.File{Path: fmt.Sprint(i), Size: int64(len(content)), Digests: digest.Of(content)})
	}
	encoded, err := manifest.Encode(m)
	return event.PackagePublished{Producer: "p", Name: "n", Version: version, RetentionClass: "r", Tier: "hot", Manifest: encoded}, err
}

// contentsOf are the blobs of a package.
func contentsOf(t *testing.T, p event.PackagePublished) []digest.Digest {
	t.Helper()
	all := []digest.Digest{digest.Of(p.Manifest).SHA256}
	_, err := manifest.Walk(p.Manifest, func(_ int, file manifest.File) error {
		all = append(all, file.Digests.SHA256)
		return nil
	})
	must(t, err)
	return all
}
