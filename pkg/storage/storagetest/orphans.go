package storagetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// WithOrphans leaves one of each kind of orphan that a crash of the driver can
// leave, using the place's own tools, and returns what Orphans should yield.
// Modified is not compared.
func WithOrphans(leave func(t *testing.T, b storage.Backend) []storage.Orphan) Option {
	return func(s *suite) { s.leave = leave }
}

// orphans: orphans are listed and can be removed, and nothing else is.
func (s *suite) orphans(t *testing.T) {
	b := s.open(t)
	blob := bytesOf(70, 100)
	mustPut(t, b, known(blob))
	if _, err := b.CreateMarker(t.Context(), []byte("marker")); err != nil {
		t.Fatal(err)
	}
	if found := listOrphans(t, b); len(found) != 0 {
		t.Errorf("nothing was left behind, found %+v", found)
	}
	var want []storage.Orphan
	if s.leave != nil {
		want = s.leave(t, b)
	}
	found := listOrphans(t, b)
	now, err := b.Now(t.Context())
	if err != nil {
		t.Fatalf("Now: %v", err)
	}
	var got, expected []string
	for _, o := range found {
		got = append(got, fmt.Sprintf("%s %s %d", o.Kind, o.Key, o.Size))
		if age := now.Sub(o.Modified); age < -2*time.Second || age > time.Minute { // servers keep whole seconds
			t.Errorf("%s was just made, and is %s old", o.Key, age)
		}
	}
	for _, o := range want {
		expected = append(expected, fmt.Sprintf("%s %s %d", o.Kind, o.Key, o.Size))
	}
	slices.Sort(got)
	slices.Sort(expected)
	if !slices.Equal(got, expected) {
		t.Errorf("found %q\nwant  %q", got, expected)
	}
	for _, o := range found {
		for range 2 { // removing a missing orphan succeeds
			if err := b.RemoveOrphan(t.Context(), o); err != nil {
				t.Errorf("removing %+v: %v", o, err)
			}
		}
	}
	for _, kind := range []storage.OrphanKind{storage.OrphanStaged, storage.OrphanProbe, storage.OrphanUpload, ""} {
		for _, key := range []string{storage.Key(digestsOf(blob).SHA256), storage.MarkerKey, storage.StagingPrefix + "/../identity", ""} {
			// An error or nil: only what is left afterwards counts.
			b.RemoveOrphan(t.Context(), storage.Orphan{Kind: kind, Key: key, UploadID: "no such upload"}) //nolint:errcheck // see above
		}
	}
	if left := listOrphans(t, b); len(left) != 0 {
		t.Errorf("left after removing all: %+v", left)
	}
	mustHold(t, b, blob)
	if marker, err := b.ReadMarker(t.Context()); err != nil || string(marker) != "marker" {
		t.Errorf("the marker: %q, %v", marker, err)
	}
	if s.keys != nil {
		if keys := s.keys(t, b); len(keys) != 2 {
			t.Errorf("there should be the blob and the marker, there are %q", keys)
		}
	}
}

func listOrphans(t *testing.T, b storage.Cleaner) []storage.Orphan {
	t.Helper()
	var found []storage.Orphan
	for o, err := range b.Orphans(t.Context()) {
		if err != nil {
			t.Fatalf("Orphans: %v", err)
		}
		found = append(found, o)
	}
	return found
}
