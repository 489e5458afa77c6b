package powercut

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/coulomb/artifact-store/test/powercut/disk"
	"github.com/coulomb/artifact-store/test/powercut/strace"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

const (
	// dataFolder of the manager, below the folder that is recorded. The manager makes it.
	dataFolder = "data"
	database   = dataFolder + "/registry.db"
)

const backend = `apiVersion: artifactstore.dev/v1alpha1
kind: StorageBackend
metadata:
  name: only
spec:
  local:
    path: %s
`

// history is what managers did to a folder: the first from its start until it is killed
// under load, the second until it is stopped.
type history struct {
	folder string // absolute, without links
	place  string // of the backend, below folder
	config string // the managers'
	events []strace.Event
	lives  []int // the events with which a manager begins
	// answers are the packages by the event with which their answer begins to be sent: from
	// there on they must survive. It is earlier than the client's receipt of it.
	answers map[int][]*parcel
	pushed  int
}

// newHistory makes the folders of one that is to come. The manager makes its data folder,
// and the place if that is in it; another one is there before.
func newHistory(t *testing.T, place string) *history {
	t.Helper()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := &history{folder: folder, place: place, config: t.TempDir(), answers: map[int][]*parcel{}}
	path, inData := strings.CutPrefix(place, dataFolder+"/")
	if !inData {
		path = filepath.Join(folder, place)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(h.config, "backend.yaml"), fmt.Appendf(nil, backend, path), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

// record has clients push to managers under strace.
func record(t *testing.T, seed uint64) *history {
	t.Helper()
	h, parcels := newHistory(t, "place"), newParcels(seed)
	var all []*parcel

	manager, end := h.trace(t)
	ctx, cancel := context.WithCancel(t.Context())
	parcels = push(ctx, t, manager.Client(t), parcels, func(p *parcel) {
		if all = append(all, p); len(all) == pushers*packagesEach/2 {
			cancel() // first: errors of requests are expected from here on
			manager.Kill()
		}
	})
	end()

	manager, end = h.trace(t)
	push(t.Context(), t, manager.Client(t), parcels, func(p *parcel) { all = append(all, p) })
	if err := manager.Stop(); err != nil {
		t.Fatalf("%v\n%s", err, manager.Tail())
	}
	end()
	if t.Failed() {
		t.FailNow()
	}
	h.findAnswers(t, all)
	return h
}

// trace starts a manager under strace. end waits for its end and keeps what it did.
func (h *history) trace(t *testing.T) (manager *programs.Manager, end func()) {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "strace")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	var events []strace.Event
	read := make(chan error, 1)
	go func() {
		from, err := os.Open(pipe) // waits for strace
		if err == nil {
			defer from.Close()               //nolint:errcheck // it is only read
			events, err = strace.Read(from)  // to the end of strace, which is that of the manager
			_, _ = io.Copy(io.Discard, from) // after an error: nobody must wait for this reader
		}
		read <- err
	}()
	manager = h.start(t, append([]string{servers.Strace(t)}, strace.Args(pipe)...))
	return manager, func() {
		t.Helper()
		if err := <-read; err != nil {
			t.Fatal(err)
		}
		settled, err := strace.Settle(events)
		if err != nil {
			t.Fatal(err)
		}
		h.lives = append(h.lives, len(h.events))
		h.events = append(h.events, settled...)
	}
}

// start starts a manager on the folder and waits until it takes packages.
func (h *history) start(t *testing.T, by []string) *programs.Manager {
	t.Helper()
	manager := programs.StartManagerBy(t, by, programs.Folder(t), []string{"--config-dir", h.config, "--data-dir", filepath.Join(h.folder, dataFolder), "--local-root", h.folder}, nil)
	programs.Eventually(t, func() error {
		only, err := manager.Client(t).GetBackend(t.Context(), "only")
		if err == nil && !only.Ready {
			err = fmt.Errorf("the backend is not ready: %s", only.Message)
		}
		return err
	})
	return manager
}

// findAnswers looks for the writes to a socket that have a publication's digest.
func (h *history) findAnswers(t *testing.T, all []*parcel) {
	t.Helper()
	byDigest := map[string]*parcel{}
	for _, p := range all {
		byDigest[p.ManifestDigest.String()] = p
	}
	h.pushed = len(byDigest)
	const before = `"manifestDigest":"`
	for at, e := range h.events {
		if e.End || !strings.HasPrefix(e.Name, "write") || !strings.Contains(e.Args[0], "socket:") {
			continue
		}
		_, rest, found := strings.Cut(e.Args[1], before)
		name, _, _ := strings.Cut(rest, `"`)
		if p, is := byDigest[name]; found && is {
			delete(byDigest, name)
			h.answers[at] = append(h.answers[at], p)
		}
	}
	if len(byDigest) > 0 || h.pushed != len(all) {
		t.Fatalf("of %d packages, strace has recorded no answer for %d", len(all), len(byDigest))
	}
}

// replay calls before for each event before it happens, with the packages that were
// answered by then, and once more after the last. It leaves out each fsync that leave
// picks.
func (h *history) replay(leave func(path string) bool, before func(at int, r *strace.Replay, answered []*parcel) error) (*strace.Replay, error) {
	root := disk.NewFolder()
	if path.Dir(h.place) == "." { // it was there before
		root.Link(h.place, disk.NewFolder()).Made()
		root.BeginSync().End()
	}
	return h.replayOn(root, leave, before)
}

// replayOn is replay on a folder that is not empty at first.
func (h *history) replayOn(root *disk.Node, leave func(path string) bool, before func(at int, r *strace.Replay, answered []*parcel) error) (*strace.Replay, error) {
	r := strace.New(root, h.folder, leave)
	var answered []*parcel
	for at := range len(h.events) + 1 {
		answered = append(answered, h.answers[at]...)
		if err := before(at, r, answered); err != nil {
			return r, fmt.Errorf("cut at event %d of %d, after %d answers: %w", at, len(h.events), len(answered), err)
		}
		if slices.Contains(h.lives, at) {
			r.Restart()
		}
		if at < len(h.events) {
			if err := r.Step(h.events[at]); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// isSync reports whether an event makes something durable.
func isSync(e strace.Event) bool {
	return e.End && (e.Name == "fsync" || e.Name == "fdatasync")
}

// after is a state without what no program reads again: SQLite makes its index of the WAL
// (-shm), which is mapped, anew when it opens a database that nobody has open.
func after(state disk.State) disk.State {
	delete(state, database+"-shm")
	return state
}
