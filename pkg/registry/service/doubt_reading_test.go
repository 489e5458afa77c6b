package service_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// TestSuspectWhileItIsRead: an object that turns out to be short in the middle of an
// answer is verified, however its bytes are copied.
func TestSuspectWhileItIsRead(t *testing.T) {
	t.Parallel()
	for how, read := range map[string]func(io.Reader) error{
		"Read":    func(body io.Reader) error { _, err := io.ReadAll(body); return err },
		"WriteTo": func(body io.Reader) error { _, err := io.Copy(io.Discard, body); return err },
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			onBothPicky(t, func(t *testing.T, w *sweepWorld, _ *picky) {
				content := bytes.Repeat([]byte("content "), 1<<17)
				sha := digest.Of(content).SHA256
				w.publish(t, "1", map[string][]byte{"a": content})
				body, _, err := w.services[0].OpenBlob(context.Background(), sha, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer body.Close() //nolint:errcheck // a test's
				if _, err := io.ReadFull(body, make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
				name := filepath.Join(w.folder, filepath.FromSlash(storage.Key(sha)))
				if err := os.Truncate(name, 1000); err != nil {
					t.Fatal(err)
				}
				if err := read(body); err == nil {
					t.Fatal("the end of the object was taken for that of the blob")
				}
				if f := findings(t, w); f.Suspect != 1 {
					t.Errorf("%+v", f)
				}
			})
		})
	}
}

// TestReadsTheSoundCopy: of two locations the one that is in doubt is read last.
func TestReadsTheSoundCopy(t *testing.T) {
	t.Parallel()
	onBothPicky(t, func(t *testing.T, w *sweepWorld, _ *picky) {
		content := []byte("content")
		sha := digest.Of(content).SHA256
		w.publish(t, "1", map[string][]byte{"a": content})
		routeElsewhere(t, w)
		if _, err := w.services[0].Publish(context.Background(), declare(t, w, "2", content), nil); err != nil { // copies it
			t.Fatal(err)
		}
		write := func(name string, content []byte) {
			t.Helper()
			if err := os.Chmod(name, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, backend := range w.tables[0].Backends() {
			name := filepath.Join(backend.Place, filepath.FromSlash(storage.Key(sha)))
			write(name, content[:3])
			mustRead(t, w, content)
			if doubts(t, w) == 0 { // it is the second anyway
				write(name, content)
				continue
			}
			write(name, []byte("CONTENT"))
			break
		}
		if doubts(t, w) != 1 {
			t.Fatal("no location is in doubt")
		}
		mustRead(t, w, content)
	})
}

// doubts counts the locations of all backends that are in doubt.
func doubts(t *testing.T, w *sweepWorld) int {
	t.Helper()
	page, err := w.services[0].ListDamaged(context.Background(), registry.DamageFilter{Version: "1", Producer: "p", Name: "n"})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Damaged)
}
