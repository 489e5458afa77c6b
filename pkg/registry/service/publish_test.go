package service_test

import (
	"context"
	"errors"
	"testing"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// What is decided together with a publication is appended with it, refuses it,
// and is decided once.
func TestPublishAlso(t *testing.T) {
	t.Parallel()
	for engine, url := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			ctx := registry.WithActor(context.Background(), "someone")
			w := newSweepWorld(t, url(t), 0, nil)
			s := w.services[0]
			ref, files := registry.PackageRef{Producer: "p", Name: "n", Version: "1"}, map[string][]byte{"a": []byte("a")}
			backend, err := s.GetBackend(ctx, "one")
			if err != nil {
				t.Fatal(err)
			}
			head := func() uint64 {
				t.Helper()
				head, err := s.LogHead(ctx)
				if err != nil {
					t.Fatal(err)
				}
				return head.Position
			}
			kinds := func(after uint64) (kinds []string) {
				t.Helper()
				page, err := s.ReadEvents(ctx, registry.EventQuery{After: after})
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range page.Events {
					if e.Actor != "someone" {
						t.Errorf("event %d is of %q", e.Position, e.Actor)
					}
					kinds = append(kinds, e.Kind)
				}
				return kinds
			}
			calls := 0
			beside := func(ctx context.Context, tx database.Tx) ([]event.Payload, error) {
				calls++
				return []event.Payload{event.BackendRegistered{BackendID: backend.ID, Name: "one", Driver: "local", Place: w.folder}}, nil
			}

			session, before := w.open(t, ref, files), head()
			refusal := errors.New("the tag does not move")
			var seen error
			_, err = s.PublishAlso(ctx, session, nil, func(ctx context.Context, tx database.Tx) ([]event.Payload, error) {
				_, seen = view.FindPackage(ctx, tx, ref.Producer, ref.Name, ref.Version)
				return nil, refusal
			})
			if !errors.Is(err, refusal) || !errors.Is(seen, view.ErrNotFound) || head() != before {
				t.Errorf("refused: got %v, the views said %v, the log went from %d to %d", err, seen, before, head())
			}
			if upload, err := s.GetUpload(ctx, session); err != nil || upload.State != registry.UploadOpen {
				t.Errorf("after a refusal the session is %q, %v", upload.State, err)
			}

			published, err := s.PublishAlso(ctx, session, nil, beside)
			if err != nil {
				t.Fatal(err)
			}
			if got := kinds(before); len(got) != 2 || got[0] != event.KindPackagePublished || got[1] != event.KindBackendRegistered || published.Position != before+1 {
				t.Errorf("published at %d: the log has %q after %d", published.Position, got, before)
			}

			before = head()
			if again, err := s.PublishAlso(ctx, session, nil, beside); err != nil || again != published || calls != 1 || head() != before {
				t.Errorf("the same session again: %+v, %v, decided %d times, the log grew by %d", again, err, calls, head()-before)
			}

			same, err := s.PublishAlso(ctx, w.open(t, ref, files), nil, beside)
			if got := kinds(before); err != nil || same != published || len(got) != 1 || got[0] != event.KindBackendRegistered {
				t.Errorf("the same content by another session: %+v, %v, the log has %q more", same, err, got)
			}
		})
	}
}
