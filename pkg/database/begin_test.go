package database_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
)

// A transaction whose caller leaves while it begins leaves none open behind: SQLite has
// one connection that writes, and the next one must be able to begin on it.
func TestLeavingWhileItBegins(t *testing.T) {
	t.Parallel()
	db := openCounters(t, "sqlite://"+filepath.Join(t.TempDir(), "test.db"))
	left := 0
	for n := range 300 {
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Duration(n)*500*time.Nanosecond, leave)
		err := db.Write(ctx, func(tx database.Tx) error { return set(ctx, tx, "left", n) })
		leave()
		if errors.Is(err, context.Canceled) {
			left++
		} else if err != nil {
			t.Fatalf("round %d: %v", n, err)
		}
		if err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "stayed", n) }); err != nil {
			t.Fatalf("after round %d: %v", n, err)
		}
	}
	if left == 0 || value(t, db, "stayed") != 299 {
		t.Errorf("%d left, value %d", left, value(t, db, "stayed"))
	}
}
