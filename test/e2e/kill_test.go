package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
	"github.com/coulomb/artifact-store/test/size"
)

// killWorlds are begun on each database engine, one after the other, and each sees
// killsPerWorld random instants: all of them in one would fill a disk that is memory.
var killWorlds, killsPerWorld = size.Of(1, 20), size.Of(10, 25)

const (
	// killWithin is how late a kill comes at most, in pushes: all clients of a
	// round have had the time for one, and are in the midst of the next.
	killWithin = 3
	// latestKill bounds it where this machine is slow.
	latestKill = 3 * time.Second
	// readyWithin is how soon a manager must serve again. It takes a fifth of a
	// second; other tests run beside this one.
	readyWithin = 10 * time.Second
	// pushersPerBackend push at the same time.
	pushersPerBackend = 2
)

// killTree is what each push brings, three quarters of it new to the registry.
var killTree = sizes{small: 50, large: 1}

// attempted is one push: what was in it, and whether it was answered.
type attempted struct {
	ref      registry.PackageRef
	folder   string
	answered bool
}

// TestKill ends the manager by SIGKILL at random instants while clients push:
// what was answered is there and intact, nothing else is half there, and no
// step of repair comes before serving again.
func TestKill(t *testing.T) {
	t.Parallel()
	seed := size.Seed(t)
	for i, engine := range []struct {
		name     string
		database func(t *testing.T) string
	}{
		{"sqlite", sqlite},
		{"postgresql", func(t *testing.T) string { return servers.Postgres(t, servers.Durable()) }},
	} {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, uint64(i))) //nolint:gosec // not for secrets
			for world := range killWorlds {
				t.Run(fmt.Sprint("world ", world), func(t *testing.T) { killed(t, engine.database(t), random) })
			}
		})
	}
}

func killed(t *testing.T, database string, random *rand.Rand) {
	root := t.TempDir()
	target := newBucket(t)
	t.Cleanup(func() { target.empty(t) })
	w := newWorld(t, newFiles(t), database, root, "local", map[string]place{
		"local": newFolder(t, root, "local"), "s3": target,
	})
	// The retention class says which backend a package goes to.
	policy(t, w.control,
		v1alpha1.RoutingRule{Match: &v1alpha1.RoutingMatch{RetentionClasses: []string{"s3"}}, Backends: []string{"s3"}},
		v1alpha1.RoutingRule{Backends: []string{"local"}})
	programs.Eventually(t, func() error {
		now, err := w.manager.Client(t).Explain(background, placementOf("s3"))
		if err == nil && now.Backend != "s3" {
			err = fmt.Errorf("the policy is not taken up: %+v", now)
		}
		return err
	})
	// As many pushes as there will be, undisturbed, say how fast this machine is now.
	began := time.Now()
	all := w.pushOnce(t, random.Uint64())
	window := min(killWithin*time.Since(began), latestKill)
	var slowest time.Duration
	for round := range killsPerWorld {
		at := time.Duration(random.Int64N(int64(window)))
		before := len(all)
		all = append(all, w.pushUntilKilled(t, round, at, random.Uint64())...)
		w.start(t)
		slowest = max(slowest, w.manager.Started)
		// What this round answered is listed at once; its bytes are compared at the end with all others.
		for _, a := range all[before:] {
			if a.answered {
				if _, err := w.manager.Client(t).GetPackage(background, a.ref); err != nil {
					t.Fatalf("round %d, killed after %s: %s was answered and is gone: %v", round, at, a.ref, err)
				}
			}
		}
	}
	if slowest > readyWithin {
		t.Errorf("a manager took %s to be ready after a kill", slowest)
	}
	w.checkViews(t)
	w.compareAll(t, all, slowest)
	for name := range w.places {
		w.verify(t, programs.ExitDone, name)
	}
	w.stop(t)
}

// pushOnce has each client push once.
func (w *world) pushOnce(t *testing.T, seed uint64) []attempted {
	t.Helper()
	begun := make([]attempted, 2*pushersPerBackend)
	var pushers sync.WaitGroup
	for pusher := range begun {
		ref := registry.PackageRef{Producer: "kill", Name: fmt.Sprintf("undisturbed-%d", pusher), Version: "1"}
		pushers.Go(func() {
			begun[pusher] = w.attempt(context.Background(), t, classOf(pusher), ref, writeTree(t, seed+uint64(pusher), killTree))
		})
	}
	pushers.Wait()
	return begun
}

// classOf is the retention class, and so the backend, of a client's packages.
func classOf(pusher int) string { return []string{"local", "s3"}[pusher%2] }

// pushUntilKilled has clients push to both backends in loops, kills the
// manager after the delay, and returns all pushes that were begun.
func (w *world) pushUntilKilled(t *testing.T, round int, after time.Duration, seed uint64) []attempted {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex
	var begun []attempted
	var pushers sync.WaitGroup
	for pusher := range 2 * pushersPerBackend {
		class := classOf(pusher)
		pushers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				ref := registry.PackageRef{Producer: "kill", Name: fmt.Sprintf("%s-%d", class, pusher), Version: fmt.Sprintf("%d.%d", round, i)}
				a := w.attempt(ctx, t, class, ref, writeTree(t, seed+uint64(100*pusher+i), killTree))
				mu.Lock()
				begun = append(begun, a)
				mu.Unlock()
			}
		})
	}
	<-time.After(after) // the instant is the point of this test; nothing is waited for
	w.manager.Kill()
	cancel()
	pushers.Wait()
	return begun
}

// attempt pushes a folder to the backend that the retention class is routed to.
func (w *world) attempt(ctx context.Context, t *testing.T, class string, ref registry.PackageRef, folder string) attempted {
	t.Helper()
	r := w.cli.Exec(ctx, t, "push", folder, "--producer", ref.Producer, "--name", ref.Name, "--version", ref.Version, "--retention-class", class)
	return attempted{ref, folder, r.Code == programs.ExitDone}
}

// compareAll pulls every package that is listed and compares it with what was
// pushed; whatever was answered must be among them.
func (w *world) compareAll(t *testing.T, all []attempted, slowest time.Duration) {
	t.Helper()
	listed := map[registry.PackageRef]bool{}
	filter := registry.PackageFilter{Limit: registry.MaxPackagePage}
	for {
		page, err := w.manager.Client(t).ListPackages(background, filter)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Packages {
			listed[p.PackageRef] = true
		}
		if filter.After = page.Next; filter.After == "" {
			break
		}
	}
	answered, unanswered := 0, 0
	for _, a := range all {
		switch {
		case a.answered && !listed[a.ref]:
			t.Errorf("%s was answered and is gone", a.ref)
		case !listed[a.ref]:
			w.cli.Run(t, programs.ExitFailed, "show", a.ref.String())
			continue
		case a.answered:
			answered++
		default:
			unanswered++ // committed, and the answer was lost: it must be whole all the same
		}
		sameTree(t, a.folder, w.pull(t, a.ref))
		delete(listed, a.ref)
	}
	if len(listed) > 0 {
		t.Errorf("packages that nobody pushed: %v", listed)
	}
	t.Logf("%d pushes: %d answered, %d there without an answer; slowest start %s", len(all), answered, unanswered, slowest.Round(time.Millisecond))
	if answered < 3 || answered+unanswered == len(all) {
		t.Error("hardly any push was answered, or none was broken off: little was tested")
	}
}
