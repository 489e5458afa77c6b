// Package powercut proves that a publish that was answered survives a power cut. strace
// records what the manager asks of the kernel while clients push; package disk says which
// states of the disk a power cut may leave at each instant, and each of them is opened.
package powercut

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/powercut/disk"
	"github.com/coulomb/artifact-store/test/powercut/strace"
	"github.com/coulomb/artifact-store/test/size"
)

var (
	// histories are recorded, one after the other.
	histories = size.Of(1, 4)
	// tornStates are opened at random instants, of which tornEach at one.
	tornStates, tornEach = size.Of(120, 2000), 4
	// servedStates are opened by a manager.
	servedStates = size.Of(2, 20)
)

func TestPowerCut(t *testing.T) {
	t.Parallel()
	seed := size.Seed(t)
	for n := range histories {
		t.Run(fmt.Sprint("history ", n), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, uint64(n))) //nolint:gosec // not for secrets
			h := record(t, random.Uint64())
			t.Run("all is lost that was not synced", func(t *testing.T) { h.worst(t) })
			t.Run("some is lost", func(t *testing.T) { h.torn(t, random) })
			t.Run("a manager starts", func(t *testing.T) { h.serves(t, random) })
			h.lacking(t)
		})
	}
}

// TestPowerCutAfterFirst: the first publish survives, with all folders, which the manager
// has just made.
func TestPowerCutAfterFirst(t *testing.T) {
	t.Parallel()
	h, p := newHistory(t, dataFolder+"/objects"), newParcels(1)[0][0]
	manager, end := h.trace(t)
	var err error
	if p.Publication, err = atOnce(t.Context(), manager.Client(t), p); err != nil {
		t.Fatal(err)
	}
	manager.Kill()
	end()
	h.findAnswers(t, []*parcel{p})
	x := newExaminer(t, h)
	if _, err := h.replay(nil, func(at int, r *strace.Replay, answered []*parcel) error {
		return x.examineWorst(h, at, r, answered)
	}); err != nil {
		t.Error(err)
	}
}

// TestPowerCutAfterKill: a manager is killed when it has written a commit and not synced
// it. The next one finds that in the kernel's memory and takes it for committed. What it
// answers then survives a power cut, too.
func TestPowerCutAfterKill(t *testing.T) {
	t.Parallel()
	h, p := newHistory(t, "place"), newParcels(1)[0][0]
	manager := h.start(t, nil)
	if _, err := atOnce(t.Context(), manager.Client(t), p); err != nil {
		t.Fatal(err)
	}
	manager.Kill()
	root := disk.NewFolder()
	if err := root.Load(h.folder, func(path string) bool { return path == database+"-wal" }); err != nil {
		t.Fatal(err)
	}
	if err := newExaminer(t, h).examine(after(root.Whole()), nil); err != nil {
		t.Fatal(err)
	}
	if worst := root.Worst(); len(worst[database+"-wal"]) > 0 {
		t.Fatal("nothing of the database can be lost")
	}

	manager, end := h.trace(t)
	var err error
	if p.Publication, err = atOnce(t.Context(), manager.Client(t), p); err != nil {
		t.Fatal(err)
	}
	manager.Kill()
	end()
	h.findAnswers(t, []*parcel{p})
	x := newExaminer(t, h)
	if _, err := h.replayOn(root, nil, func(at int, r *strace.Replay, answered []*parcel) error {
		return x.examineWorst(h, at, r, answered)
	}); err != nil {
		t.Error(err)
	}
}

// worst opens the worst state of every instant.
func (h *history) worst(t *testing.T) {
	x := newExaminer(t, h)
	checkpoints := 0
	r, err := h.replay(nil, func(at int, r *strace.Replay, answered []*parcel) error {
		if at < len(h.events) && isSync(h.events[at]) && strings.HasSuffix(h.events[at].Args[0], "/registry.db>") {
			checkpoints++
		}
		return x.examineWorst(h, at, r, answered)
	})
	if err != nil {
		t.Fatal(err)
	}
	for path := range r.Mapped {
		if path != database+"-shm" {
			t.Errorf("%s was mapped for writing", path)
		}
	}
	t.Logf("%d packages, %d calls, %d states, %d of them with another database, %d checkpoints", h.pushed, len(h.events)/2, x.states, x.opened, checkpoints)
	if checkpoints < 3 { // when it is made, at its end, and between them
		t.Error("there was no checkpoint under load: push more")
	}
	if h.pushed < pushers*packagesEach {
		t.Errorf("%d packages were pushed", h.pushed)
	}
}

// examineWorst opens the worst state at an event, unless it is that of the next event, too:
// it changes with each fsync, and between two of them ever more was answered.
func (x *examiner) examineWorst(h *history, at int, r *strace.Replay, answered []*parcel) error {
	if at < len(h.events) && !isSync(h.events[at]) {
		return nil
	}
	return x.examine(after(r.Root.Worst()), answered)
}

// torn opens states of random instants that have kept more than they had to.
func (h *history) torn(t *testing.T, random *rand.Rand) {
	x := newExaminer(t, h)
	chosen := map[int]bool{}
	for len(chosen) < tornStates/tornEach {
		chosen[random.IntN(len(h.events))] = true
	}
	_, err := h.replay(nil, func(at int, r *strace.Replay, answered []*parcel) error {
		if !chosen[at] {
			return nil
		}
		for range tornEach {
			if err := x.examine(after(r.Root.Torn(random)), answered); err != nil {
				return err
			}
		}
		return x.examine(after(r.Root.Whole()), answered)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d states", x.states)
}

// serves starts a manager on some of the states and reads every package.
func (h *history) serves(t *testing.T, random *rand.Rand) {
	type cut struct {
		at       int
		state    disk.State
		answered []*parcel
	}
	var cuts []cut
	chosen := map[int]bool{}
	for len(chosen) < servedStates {
		chosen[random.IntN(len(h.events))] = true
	}
	if _, err := h.replay(nil, func(at int, r *strace.Replay, answered []*parcel) error {
		if chosen[at] {
			state := r.Root.Worst()
			if len(cuts)%2 == 1 {
				state = r.Root.Torn(random)
			}
			cuts = append(cuts, cut{at, after(state), answered})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range cuts {
		for _, folder := range []string{dataFolder, h.place} {
			if err := os.RemoveAll(filepath.Join(h.folder, folder)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.MkdirAll(filepath.Join(h.folder, h.place), 0o700); err != nil { // also of a state without files
			t.Fatal(err)
		}
		if err := c.state.Write(h.folder); err != nil {
			t.Fatal(err)
		}
		manager := h.start(t, nil)
		client := manager.Client(t)
		for _, p := range c.answered {
			if got, err := client.GetPackage(t.Context(), p.PackageRef); err != nil || got.ManifestDigest != p.ManifestDigest {
				t.Fatalf("cut at event %d: %s: %+v, %v", c.at, p.PackageRef, got, err)
			}
			for _, file := range p.files {
				body, _, err := client.OpenBlob(t.Context(), file.Digests.SHA256, nil)
				if err != nil {
					t.Fatalf("cut at event %d: %s of %s: %v", c.at, file.Path, p.PackageRef, err)
				}
				got, err := io.ReadAll(body)
				body.Close() //nolint:errcheck // it was read
				if err != nil || !bytes.Equal(got, p.bytes[file.Path]) {
					t.Fatalf("cut at event %d: %s of %s has %d other bytes: %v", c.at, file.Path, p.PackageRef, len(got), err)
				}
			}
		}
		t.Logf("after a cut at event %d a manager serves %d packages", c.at, len(c.answered))
		if err := manager.Stop(); err != nil {
			t.Fatalf("%v\n%s", err, manager.Tail())
		}
	}
}

// lacking leaves out each kind of fsync in turn: the proof must notice, or it proves nothing.
func (h *history) lacking(t *testing.T) {
	fanOut := func(depth int) func(path string) bool {
		return func(path string) bool {
			below, is := strings.CutPrefix(path, h.place+"/sha256")
			return is && strings.Count(below, "/") == depth
		}
	}
	is := func(one string) func(path string) bool { return func(path string) bool { return path == one } }
	for _, kind := range []struct {
		name  string
		after int // answers: what is done only once is left out from the beginning
		leave func(path string) bool
	}{
		{"blobs", 10, func(path string) bool { return strings.HasPrefix(path, h.place+"/"+storage.StagingPrefix) }},
		{"the folders of blobs", 10, fanOut(2)},
		{"the folders above", 10, fanOut(1)},
		{"the folder above these", 10, fanOut(0)},
		{"the place", 0, is(h.place)},
		{"the data folder", 0, is(dataFolder)},
		{"the folder above the data folder", 0, is(".")},
		{"the log of the database", 10, is(database + "-wal")},
		{"the database", 10, is(database)},
	} {
		t.Run("without fsync of "+kind.name, func(t *testing.T) {
			x, left, answers := newExaminer(t, h), 0, 0
			_, err := h.replay(func(path string) bool {
				if answers < kind.after || !kind.leave(path) {
					return false
				}
				left++
				return true
			}, func(at int, r *strace.Replay, answered []*parcel) error {
				answers = len(answered)
				if left == 0 {
					return nil
				}
				return x.examineWorst(h, at, r, answered)
			})
			if err == nil {
				t.Fatalf("nothing is lost without %d fsyncs", left)
			}
			t.Logf("%d left out, %v", left, err)
		})
	}
}
