package registry

import (
	"errors"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
)

// FuzzCursors: a cursor is invalid, or says the same after it was written again.
func FuzzCursors(f *testing.F) {
	asOf := int64(7)
	for _, cursor := range []string{
		"", PackageCursor(PackageRef{"team-a", "model", "1.0"}), CursorAt("team-a"),
		LocationCursor{UpTo: 3, AsOf: &asOf, Checked: 5, SHA256: digest.Of(nil).SHA256}.String(),
	} {
		f.Add(cursor)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := ParsePackageCursor(text)
		switch {
		case err != nil && !errors.Is(err, ErrInvalid):
			t.Fatalf("of packages: %v", err)
		case ref != nil:
			if again, err := ParsePackageCursor(PackageCursor(*ref)); err != nil || *again != *ref {
				t.Fatalf("%+v has become %+v, %v", ref, again, err)
			}
		}
		at, err := ParseLocationCursor(text)
		switch {
		case err != nil && !errors.Is(err, ErrInvalid):
			t.Fatalf("of locations: %v", err)
		case at != nil:
			if again, err := ParseLocationCursor(at.String()); err != nil || again.String() != at.String() {
				t.Fatalf("%+v has become %+v, %v", at, again, err)
			}
		}
	})
}
