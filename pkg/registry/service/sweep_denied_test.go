package service_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// undeletable is a place whose keys may not delete.
type undeletable struct{ storage.Backend }

var errMayNotDelete = &storage.PlaceError{Kind: storage.ErrDenied, Reason: storage.ReasonAccessDenied, Message: "delete: access is denied; this needs s3:DeleteObject"}

func (undeletable) Delete(context.Context, digest.Digest) error { return errMayNotDelete }

func (undeletable) RemoveOrphan(context.Context, storage.Orphan) error { return errMayNotDelete }

// A sweep that may not delete says so at once, and a dry run lists as ever.
func TestSweepThatMayNotDelete(t *testing.T) {
	t.Parallel()
	w := newSweepWorld(t, "", 0, func(b storage.Backend) storage.Backend { return undeletable{b} })
	w.leave(t, 25*time.Hour)
	w.leave(t, 26*time.Hour)
	if report := w.sweep(t, true); len(report.Orphans) != 6 {
		t.Errorf("a dry run: %+v", report)
	}
	before := len(w.files(t))
	report, err := w.services[0].SweepBackend(t.Context(), "one", false, nil)
	if err == nil || !strings.Contains(err.Error(), "one does not allow deleting") || !strings.Contains(err.Error(), "s3:DeleteObject") || report.Done {
		t.Errorf("%+v, %v", report, err)
	}
	if after := len(w.files(t)); after != before {
		t.Errorf("%d files are left of %d", after, before)
	}
}
