package service_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service"
)

// Sessions with many files are removed in several transactions: nothing else is
// written on SQLite while one lasts.
func TestManyRowsGoInPieces(t *testing.T) {
	t.Parallel()
	for engine, url := range engines {
		for what, remove := range map[string]func(ctx context.Context, w *sweepWorld, s *service.Service, session string) error{
			"expired": func(ctx context.Context, w *sweepWorld, s *service.Service, _ string) error {
				w.advanced.Add(int64(3 * 24 * time.Hour))
				return s.RemoveExpired(ctx)
			},
			"abandoned": func(ctx context.Context, _ *sweepWorld, s *service.Service, session string) error {
				return s.AbandonUpload(ctx, session)
			},
		} {
			t.Run(engine+"/"+what, func(t *testing.T) {
				t.Parallel()
				w := newSweepWorld(t, url(t), 0, nil)
				ctx, s := context.Background(), w.services[0]
				files := make([]registry.FileDeclaration, 20_000)
				for i := range files {
					files[i] = registry.FileDeclaration{Path: fmt.Sprintf("file-%05d", i), Digests: digest.Dual{SHA256: digest.Of(fmt.Append(nil, i)).SHA256}}
				}
				db, err := database.Open(ctx, w.url)
				if err != nil {
					t.Fatal(err)
				}
				defer db.Close() //nolint:errcheck // a test's
				rows := func() (n int) {
					if err := db.Read(ctx, func(tx database.Tx) error {
						return tx.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM upload_files) + (SELECT COUNT(*) FROM uploads)`).Scan(&n)
					}); err != nil {
						t.Error(err)
					}
					return n
				}
				var (
					session registry.Upload
					between = map[int]bool{}
				)
				// On a busy machine it can be over before somebody has looked.
				for attempt := 0; attempt < 5 && len(between) == 0; attempt++ {
					if session, err = s.OpenUpload(ctx, registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: fmt.Sprint(attempt)}, RetentionClass: "release"}); err != nil {
						t.Fatal(err)
					}
					if _, err := s.DeclareFiles(ctx, session.ID, files); err != nil {
						t.Fatal(err)
					}
					removed := make(chan error, 1)
					go func() { removed <- remove(ctx, w, s, session.ID) }()
					for ended := false; !ended; {
						select {
						case err := <-removed:
							if err != nil {
								t.Fatal(err)
							}
							ended = true
						default:
							between[rows()] = true
						}
					}
					// One transaction would show no number but these.
					for _, n := range []int{len(files) + 1, 1, 0} {
						delete(between, n)
					}
				}
				if rows() != 0 || len(between) == 0 {
					t.Errorf("%d rows are left, and %d numbers of rows were seen on the way", rows(), len(between))
				}
				if _, err := s.GetUpload(ctx, session.ID); err == nil {
					t.Error("the session is still there")
				}
			})
		}
	}
}
