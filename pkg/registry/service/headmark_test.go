package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/headmark"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
)

// owner of the world's one backend.
func (w *sweepWorld) owner(t *testing.T) registrar.Owner {
	t.Helper()
	health, err := w.services[0].Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return registrar.Owner{LogID: health.Log.LogID, BackendID: health.Backends[0].ID, Name: "one", Place: w.folder}
}

func (w *sweepWorld) mark(t *testing.T) headmark.Mark {
	t.Helper()
	data, err := w.store.ReadHeadMark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mark, err := headmark.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return mark
}

func (w *sweepWorld) markHead(t *testing.T, every time.Duration) error {
	t.Helper()
	return w.services[0].MarkHead(t.Context(), w.owner(t), w.store, every)
}

func (w *sweepWorld) sweepError(t *testing.T, dryRun bool) error {
	t.Helper()
	_, err := w.services[len(w.services)-1].SweepBackend(t.Context(), "one", dryRun, nil)
	return err
}

// orphan stores what no log knows, long ago.
func (w *sweepWorld) orphan(t *testing.T, content []byte) digest.Digest {
	t.Helper()
	if _, err := w.store.Put(t.Context(), storage.Source{Reader: bytes.NewReader(content), Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	w.makeOld(t, 48*time.Hour, content)
	return digest.Of(content).SHA256
}

// The mark moves with the log, at most every so often, and never back.
func TestHeadMarkMoves(t *testing.T) {
	t.Parallel()
	w := newSweepWorld(t, "", 0, nil)
	if err := w.markHead(t, registrar.CompareOnly); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.ReadHeadMark(t.Context()); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("comparing has written a mark: %v", err)
	}
	for step, c := range []struct {
		publish bool
		advance time.Duration
		moves   bool
	}{
		{moves: true}, // there is none
		{advance: time.Hour},
		{publish: true, moves: true},
		{publish: true, advance: registrar.HeadMarkInterval - time.Minute},
		{advance: 2 * time.Minute, moves: true},
		{publish: true, advance: -time.Hour, moves: true}, // the clock that wrote the mark was ahead
	} {
		before, _ := w.store.ReadHeadMark(t.Context())
		if c.publish {
			w.publish(t, fmt.Sprint(step), map[string][]byte{"a": fmt.Append(nil, step)})
		}
		w.advanced.Add(int64(c.advance))
		if err := w.markHead(t, registrar.HeadMarkInterval); err != nil {
			t.Fatal(err)
		}
		after, err := w.store.ReadHeadMark(t.Context())
		if err != nil || bytes.Equal(before, after) == c.moves {
			t.Errorf("step %d: from %s to %s, %v", step, before, after, err)
		}
		if head, err := w.services[0].LogHead(t.Context()); err != nil || c.moves && w.mark(t).Position != head.Position {
			t.Errorf("step %d: the mark is at %d, the head at %d: %v", step, w.mark(t).Position, head.Position, err)
		}
	}
}

// A mark that the log does not have stops removals, until someone accepts it and 14 days are over.
func TestOlderLog(t *testing.T) {
	t.Parallel()
	for engine, url := range engines {
		for name, ahead := range map[string]int64{"ahead": 1000, "another": 0} {
			t.Run(engine+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := newSweepWorld(t, url(t), 0, nil)
				w.publish(t, "1", map[string][]byte{"a": []byte("a")})
				lost := w.orphan(t, []byte("published by the log that was lost"))
				if err := w.markHead(t, 0); err != nil {
					t.Fatal(err)
				}
				foreign := w.mark(t)
				foreign.Position += uint64(ahead)
				foreign.Hash[0] ^= 1
				data, err := foreign.Encode()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.store.WriteHeadMark(t.Context(), data); err != nil {
					t.Fatal(err)
				}
				isOlder := func(what string, err error) {
					t.Helper()
					var marker *registrar.MarkerError
					if !errors.Is(err, registrar.ErrOlderLog) || !errors.As(err, &marker) || !strings.Contains(marker.Message, w.folder) {
						t.Errorf("%s: %v", what, err)
					}
					if there, err := w.store.ReadHeadMark(t.Context()); err != nil || !bytes.Equal(there, data) {
						t.Errorf("%s: the mark was written: %s, %v", what, there, err)
					}
					if _, err := w.store.Head(t.Context(), lost); err != nil {
						t.Errorf("%s: %v", what, err)
					}
				}
				isOlder("sweep", w.sweepError(t, false))
				isOlder("dry run", w.sweepError(t, true))
				isOlder("probe", w.markHead(t, registrar.HeadMarkInterval))
				w.another(t) // a restart, and a replica that has not looked itself
				health, err := w.services[1].Health(t.Context())
				if err != nil || health.Status != registry.HealthDegraded || len(health.Reasons) != 1 || !strings.Contains(health.Reasons[0], "older") {
					t.Errorf("health: %+v, %v", health, err)
				}
				w.publish(t, "2", map[string][]byte{"b": []byte("b")}) // pushes are taken

				accepted, err := w.services[1].AcceptOlderLog(t.Context(), "a test")
				if err != nil || len(accepted) != 1 || accepted[0] != "one" {
					t.Fatalf("accepted %v, %v", accepted, err)
				}
				if _, err := w.services[1].AcceptOlderLog(t.Context(), "again"); !errors.Is(err, registry.ErrNotFound) {
					t.Errorf("accepted twice: %v", err)
				}
				w.another(t)
				if err := w.markHead(t, registrar.HeadMarkInterval); err != nil {
					t.Errorf("a probe after it was accepted: %v", err)
				}
				if there, err := w.store.ReadHeadMark(t.Context()); err != nil || bytes.Equal(there, data) {
					t.Errorf("a probe has not moved the accepted mark: %v", err)
				}
				var held *registry.RemovalsHeldError
				until := w.now().Add(14 * 24 * time.Hour)
				if err := w.sweepError(t, false); !errors.As(err, &held) || held.Until.Sub(until).Abs() > time.Minute {
					t.Errorf("sweeping when it was accepted: %v", err)
				}
				if head, err := w.services[0].LogHead(t.Context()); err != nil || w.mark(t).Position != head.Position {
					t.Errorf("the mark is at %d, not moved to %d: %v", w.mark(t).Position, head.Position, err)
				}
				if err := w.sweepError(t, true); err != nil {
					t.Errorf("a dry run: %v", err)
				}
				if health, err := w.services[0].Health(t.Context()); err != nil || health.Status != registry.HealthOK {
					t.Errorf("health: %+v, %v", health, err)
				}
				w.advanced.Add(int64(14*24*time.Hour - time.Minute))
				if err := w.sweepError(t, false); !errors.Is(err, registry.ErrRemovalsHeld) {
					t.Errorf("a minute too early: %v", err)
				}
				if _, err := w.store.Head(t.Context(), lost); err != nil {
					t.Fatal(err)
				}
				w.advanced.Add(int64(2 * time.Minute))
				if err := w.sweepError(t, false); err != nil {
					t.Error(err)
				}
				if _, err := w.store.Head(t.Context(), lost); !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("nothing is swept any more: %v", err)
				}
			})
		}
	}
}

// A log that one backend shows to be older is older for all: the marks of others may be a
// day old. One that says what no log can is never taken for ours, and is not remembered.
func TestOlderLogIsOfAllBackends(t *testing.T) {
	t.Parallel()
	w := newSweepWorld(t, "", 0, nil)
	w.publish(t, "1", map[string][]byte{"a": []byte("a")})
	lost := w.orphan(t, []byte("published by the log that was lost"))
	if err := w.markHead(t, 0); err != nil {
		t.Fatal(err)
	}
	mark := w.mark(t)
	other, err := local.Open(t.Context(), local.Config{Path: t.TempDir()}, buffer.Default())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() }) //nolint:errcheck // a test's
	owner := w.owner(t)
	owner.BackendID, owner.Name, owner.Place = "7d1c2f4e-52b8-4a6c-8b58-0a3f1c1e9a02", "two", ""
	lookAtOther := func(position uint64) error {
		t.Helper()
		ahead := mark
		ahead.Position = position
		data, err := ahead.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.WriteHeadMark(t.Context(), data); err != nil {
			t.Fatal(err)
		}
		return w.services[0].MarkHead(t.Context(), owner, other, registrar.CompareOnly)
	}
	for range 2 {
		if err := lookAtOther(1 << 63); !errors.Is(err, registrar.ErrOlderLog) {
			t.Errorf("a position that no log has: %v", err)
		}
	}
	if err := w.sweepError(t, true); err != nil {
		t.Errorf("a dry run beside a mark that is none: %v", err)
	}
	if err := lookAtOther(mark.Position + 1000); !errors.Is(err, registrar.ErrOlderLog) {
		t.Errorf("a mark that is ahead: %v", err)
	}
	for _, dryRun := range []bool{true, false} {
		if err := w.sweepError(t, dryRun); !errors.Is(err, registrar.ErrOlderLog) || !strings.Contains(err.Error(), "backend two") {
			t.Errorf("sweeping another backend, dry run %v: %v", dryRun, err)
		}
	}
	if _, err := w.store.Head(t.Context(), lost); err != nil {
		t.Error(err)
	}
	if err := lookAtOther(mark.Position); err != nil { // the right database again
		t.Error(err)
	}
	if err := w.sweepError(t, false); err != nil {
		t.Error(err)
	}
}

// A database is restored from a copy, 10 times at different moments: no sweep
// removes what the copy does not know, also when its log has grown again.
func TestRestoredDatabase(t *testing.T) {
	t.Parallel()
	for round := range 10 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			w := newSweepWorld(t, "", 0, nil)
			for i := range round {
				w.publish(t, fmt.Sprint(i), map[string][]byte{"a": fmt.Append(nil, "kept ", i)})
			}
			if err := w.markHead(t, 0); err != nil {
				t.Fatal(err)
			}
			backup := "sqlite://" + filepath.Join(t.TempDir(), "backup.db")
			copyDatabase(t, w.url, backup)
			var lost [][]byte
			for i := range 1 + round%3 {
				content := fmt.Append(nil, "lost ", i)
				w.publish(t, fmt.Sprint("lost", i), map[string][]byte{"a": content})
				lost = append(lost, content)
			}
			w.makeOld(t, 48*time.Hour, lost...)
			if err := w.markHead(t, 0); err != nil {
				t.Fatal(err)
			}
			restored := &sweepWorld{url: backup, folder: w.folder}
			restored.another(t)
			for grown := range 4 {
				if err := restored.sweepError(t, false); !errors.Is(err, registrar.ErrOlderLog) {
					t.Fatalf("grown by %d: %v", grown, err)
				}
				restored.publish(t, fmt.Sprint("new", grown), map[string][]byte{"a": fmt.Append(nil, "new ", grown)})
			}
			for _, content := range lost {
				if _, err := restored.store.Head(context.Background(), digest.Of(content).SHA256); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// copyDatabase copies a SQLite database with its write-ahead log, while nobody writes.
func copyDatabase(t *testing.T, from, to string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(strings.TrimPrefix(from, "sqlite://") + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(strings.TrimPrefix(to, "sqlite://")+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
