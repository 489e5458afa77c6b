package service_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
)

// denied is what the local driver says of a file that it may not read.
func denied(message string) error {
	return &storage.PlaceError{Kind: storage.ErrDenied, Reason: storage.ReasonAccessDenied, Message: message}
}

// TestSuspectUnreadable: what a reader cannot read is looked at as what it does not find,
// unless it is the place that does not let it.
func TestSuspectUnreadable(t *testing.T) {
	t.Parallel()
	onBothPicky(t, func(t *testing.T, w *sweepWorld, place *picky) {
		ctx, s := context.Background(), w.services[0]
		content := []byte("it will not be readable")
		w.publish(t, "1", map[string][]byte{"a": content})
		sha := digest.Of(content).SHA256
		for _, test := range []struct {
			is       string
			blob     error
			away     error
			suspects int64
		}{
			{"away", storage.ErrUnreachable, nil, 0},
			{"denied", denied("permission denied"), denied("permission denied"), 0},
			{"well", denied("permission denied: " + strings.Repeat("a long path, ", 200)), nil, 1},
		} {
			place.set(func(p *picky) { p.refuse[sha], p.away = test.blob, test.away })
			if _, _, err := s.OpenBlob(ctx, sha, nil); !errors.Is(err, test.blob) {
				t.Errorf("%s: %v", test.is, err)
			}
			if f := findings(t, w); f.Suspect != test.suspects {
				t.Errorf("%s: %+v", test.is, f)
			}
		}
		if !wanted(t, w, "2", string(content)) {
			t.Error("it is offered for reuse")
		}
		if said := healthReasons(t, w); !strings.Contains(said, "1 objects missing or short, or could not read them") {
			t.Errorf("health says %q", said)
		}
		// Its message is longer than what is recorded of one.
		if err := s.LookAtDoubts(ctx); err != nil {
			t.Fatal(err)
		}
		if f := findings(t, w); f.Unreadable != 1 || f.Suspect != 0 || f.Failed != 0 {
			t.Errorf("%+v", f)
		}
		place.set(func(p *picky) { clear(p.refuse) })
		w.advanced.Add(int64(2 * time.Hour))
		if err := s.LookAtDoubts(ctx); err != nil || findings(t, w).Unreadable != 0 {
			t.Errorf("%+v, %v", findings(t, w), err)
		}
	})
}

// TestDoubtBeforePublish: a reader meets a blob that a session was not to send.
func TestDoubtBeforePublish(t *testing.T) {
	t.Parallel()
	onBothPicky(t, func(t *testing.T, w *sweepWorld, _ *picky) {
		ctx, s, content := context.Background(), w.services[0], []byte("it will be gone")
		sha := digest.Of(content).SHA256
		w.publish(t, "1", map[string][]byte{"a": content})
		id := declare(t, w, "2", content)
		if err := os.Remove(filepath.Join(w.folder, filepath.FromSlash(storage.Key(sha)))); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.OpenBlob(ctx, sha, nil); !errors.Is(err, registry.ErrFailedLocation) {
			t.Fatal(err)
		}
		mustSend(t, w, id, content)
		mustRead(t, w, content)
	})
}

// TestCopyOfADamagedBlob: where a publish cannot copy a reused blob from the place that
// should have it, the client is asked for the bytes.
func TestCopyOfADamagedBlob(t *testing.T) {
	t.Parallel()
	for _, is := range []string{"gone", "short", "long", "corrupt", "unreadable"} {
		t.Run(is, func(t *testing.T) {
			t.Parallel()
			onBothPicky(t, func(t *testing.T, w *sweepWorld, place *picky) {
				content := []byte("content")
				sha := digest.Of(content).SHA256
				w.publish(t, "1", map[string][]byte{"a": content})
				routeElsewhere(t, w)
				id := declare(t, w, "2", content)
				name := filepath.Join(w.folder, filepath.FromSlash(storage.Key(sha)))
				if err := os.Chmod(name, 0o600); err != nil {
					t.Fatal(err)
				}
				var err error
				switch is {
				case "gone":
					err = os.Remove(name)
				case "short":
					err = os.Truncate(name, 3)
				case "long":
					err = os.Truncate(name, 30)
				case "corrupt":
					err = os.WriteFile(name, []byte("Content"), 0o600)
				case "unreadable":
					place.set(func(p *picky) { p.refuse[sha] = denied("permission denied") })
				}
				if err != nil {
					t.Fatal(err)
				}
				mustSend(t, w, id, content)
				if f := findings(t, w); f.Suspect != 1 {
					t.Errorf("%+v", f)
				}
				if err := w.services[0].LookAtDoubts(context.Background()); err != nil {
					t.Fatal(err)
				}
				mustRead(t, w, content)
			})
		})
	}
}

// TestCopyFromAPlaceThatIsAway: nothing is said of the blob.
func TestCopyFromAPlaceThatIsAway(t *testing.T) {
	t.Parallel()
	onBothPicky(t, func(t *testing.T, w *sweepWorld, place *picky) {
		content := []byte("content")
		w.publish(t, "1", map[string][]byte{"a": content})
		routeElsewhere(t, w)
		id := declare(t, w, "2", content)
		place.set(func(p *picky) { p.refuse[digest.Of(content).SHA256] = storage.ErrUnreachable })
		if _, err := w.services[0].Publish(context.Background(), id, nil); !errors.Is(err, storage.ErrUnreachable) || findings(t, w).Suspect != 0 {
			t.Errorf("%v, %+v", err, findings(t, w))
		}
		place.set(func(p *picky) { clear(p.refuse) })
		if _, err := w.services[0].Publish(context.Background(), id, nil); err != nil {
			t.Error(err)
		}
	})
}

// TestPushAgainElsewhere: a push of the same version heals what cannot be read, also if
// it goes to another backend.
func TestPushAgainElsewhere(t *testing.T) {
	t.Parallel()
	onBothPicky(t, func(t *testing.T, w *sweepWorld, place *picky) {
		ctx, s := context.Background(), w.services[0]
		files := map[string][]byte{"a": []byte("it will not be readable"), "b": []byte("it stays")}
		ref := w.publish(t, "1", files)
		for _, content := range files {
			place.refuse[digest.Of(content).SHA256] = denied("permission denied")
		}
		delete(place.refuse, digest.Of(files["b"]).SHA256)
		if report, err := s.VerifyBackend(ctx, "one", registry.VerifyOptions{}, nil); err != nil || report.Unreachable != 1 {
			t.Fatalf("%+v, %v", report, err)
		}
		routeElsewhere(t, w)
		before := head(t, w)
		w.publish(t, "1", files)
		if kinds, _ := logged(t, w, before); strings.Count(kinds, "location_added") != 1 {
			t.Errorf("logged %q", kinds)
		}
		place.set(func(p *picky) { p.refuse[digest.Of(files["b"]).SHA256] = nil })
		w.mustBeWhole(t, map[registry.PackageRef]map[string][]byte{ref: {"b": files["b"]}})
		mustRead(t, w, files["a"])
		// Nothing is to be added again.
		before = head(t, w)
		if w.publish(t, "1", files); head(t, w) != before {
			t.Errorf("it was logged again")
		}
	})
}

// routeElsewhere declares another backend, where everything is placed from now on.
func routeElsewhere(t *testing.T, w *sweepWorld) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "two")
	place, err := local.Open(t.Context(), local.Config{Path: folder, Create: true}, buffer.Default())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { place.Close() }) //nolint:errcheck // a test's
	id, err := w.services[0].RegisterBackend(t.Context(), "two", "local", folder, place)
	if err != nil {
		t.Fatal(err)
	}
	w.tables[0].Swap(routing.Snapshot{
		Backends: append(w.tables[0].Backends(), placement.Backend{ID: id, Name: "two", Place: folder, Driver: "local", Ready: true, Store: place}),
		Rules:    []routing.Rule{{Policy: "p", Backends: []string{"two"}}},
	})
}

// declare begins a session with a file that need not be sent.
func declare(t *testing.T, w *sweepWorld, version string, content []byte) (id string) {
	t.Helper()
	ctx, size := context.Background(), int64(len(content))
	upload, err := w.services[0].OpenUpload(ctx, registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: version}, RetentionClass: "r"})
	if err != nil {
		t.Fatal(err)
	}
	declared, err := w.services[0].DeclareFiles(ctx, upload.ID, []registry.FileDeclaration{{Path: "a", Size: &size, Digests: digest.Of(content)}})
	if err != nil || len(declared.Send) != 0 {
		t.Fatalf("%+v, %v", declared, err)
	}
	return upload.ID
}

// mustSend: the session's file must be sent after all.
func mustSend(t *testing.T, w *sweepWorld, id string, content []byte) {
	t.Helper()
	ctx, s := context.Background(), w.services[0]
	var incomplete *registry.IncompleteError
	if _, err := s.Publish(ctx, id, nil); !errors.As(err, &incomplete) || incomplete.Count != 1 || incomplete.Paths[0] != "a" {
		t.Fatalf("%v", err)
	}
	if _, err := s.PutFile(ctx, id, "a", registry.Content{Reader: bytes.NewReader(content), Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(ctx, id, nil); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t *testing.T, w *sweepWorld, content []byte) {
	t.Helper()
	body, _, err := w.services[0].OpenBlob(context.Background(), digest.Of(content).SHA256, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%q, %v", got, err)
	}
}
