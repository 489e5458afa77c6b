package controllers

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/observe"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/filewatch"
	"github.com/coulomb/artifact-store/pkg/routing"
)

// Embedded drives the routing table from a folder of YAML files, without a
// cluster. It reads them again when they change; an invalid edit
// is logged, and the previous declaration stays in use.
type Embedded struct {
	Dir      string
	Observer *observe.Observer
	Table    *routing.Table
	Logger   *slog.Logger
	// Verify makes the runs that spec.verification asks for; nil makes none.
	Verify Verify

	now func() time.Time // nil is time.Now

	// accepted is what the files declared when they were last valid. Only Run uses it.
	accepted declared.Declaration

	mu       sync.Mutex
	policies []v1alpha1.RoutingPolicy
	kept     map[string]*kept
	running  sync.WaitGroup
}

// kept is one declared backend and the goroutine that looks at it.
type kept struct {
	sb   *v1alpha1.StorageBackend // replaced, never changed
	kick chan struct{}            // has room for one
	stop context.CancelFunc

	timetable timetable
}

// look has the backend probed now.
func (k *kept) look() { signal(k.kick) }

// signal wakes the listener of a channel with room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}

// Run follows the files until ctx ends. It returns early only if the files
// cannot be read at the start.
func (e *Embedded) Run(ctx context.Context) error {
	e.kept = map[string]*kept{}
	defer e.Observer.Listen(func(name string, look bool) {
		if look {
			go e.lookAgain(name) // not to wait for the lock here
		}
	})()
	defer e.running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	declarations, err := filewatch.Open(func() []string { return declared.Paths(e.Dir) }, func() error { return e.reload(ctx) })
	if err != nil {
		return fmt.Errorf("read %s: %w", e.Dir, err)
	}
	values := filewatch.New(e.referred, e.lookAtFiles)
	e.running.Go(func() { values.Run(ctx, func(error) {}) })
	declarations.Run(ctx, func(err error) {
		e.Logger.Error("the edited configuration is invalid; the previous one stays in use", "dir", e.Dir, "error", err)
	})
	return nil
}

// reload reads the files and takes them up, all or none.
func (e *Embedded) reload(ctx context.Context) error {
	e.mu.Lock()
	for name, k := range e.kept {
		if k.sb.Status.ID != "" {
			e.accepted.Marked(name, k.sb.Status.ID)
		}
	}
	e.mu.Unlock()
	next, err := declared.LoadDir(e.Dir, e.accepted)
	if err != nil {
		return err
	}
	e.accepted = next
	e.mu.Lock()
	defer e.mu.Unlock()
	e.policies = next.Policies
	for name, k := range e.kept {
		if !slices.ContainsFunc(next.Backends, func(sb v1alpha1.StorageBackend) bool { return sb.Name == name }) {
			e.Logger.Warn("a backend is no longer declared; what it holds cannot be read", "backend", name, "id", k.sb.Status.ID)
			k.stop()
			delete(e.kept, name)
		}
	}
	for i := range next.Backends {
		e.take(ctx, next.Backends[i].DeepCopy())
	}
	e.Logger.Info("configuration loaded", "dir", e.Dir, "backends", len(next.Backends), "policies", len(next.Policies))
	e.swap()
	e.warnOfPolicies()
	return nil
}

// take declares one backend and has it probed if it is new or changed. e.mu is held.
func (e *Embedded) take(ctx context.Context, sb *v1alpha1.StorageBackend) {
	k := e.kept[sb.Name]
	switch {
	case k == nil:
		sb.Generation = 1
		own, stop := context.WithCancel(ctx)
		k = &kept{sb: sb, kick: make(chan struct{}, 1), stop: stop, timetable: timetable{edited: make(chan struct{}, 1)}}
		e.kept[sb.Name] = k
		e.running.Go(func() { e.keep(own, sb.Name, k) })
		e.running.Go(func() { e.runs(own, sb.Name, k) })
		return
	case !equality.Semantic.DeepEqual(k.sb.Spec, sb.Spec):
		sb.Generation, sb.Status = k.sb.Generation+1, k.sb.Status
		k.sb = sb
		signal(k.timetable.edited)
	default:
		return
	}
	k.look()
}

// referred are the files that backends take values from. A missing one becomes a condition.
func (e *Embedded) referred() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var files []string
	for _, name := range slices.Sorted(maps.Keys(e.kept)) {
		files = append(files, declared.Files(e.kept[name].sb)...)
	}
	return files
}

// lookAtFiles has the backends that take values from files probed now.
func (e *Embedded) lookAtFiles() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, k := range e.kept {
		if len(declared.Files(k.sb)) > 0 {
			k.look()
		}
	}
	return nil
}

func (e *Embedded) lookAgain(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if k := e.kept[name]; k != nil {
		k.look()
	}
}

// keep looks at one backend at its interval, and when it is kicked.
func (e *Embedded) keep(ctx context.Context, name string, k *kept) {
	for {
		e.mu.Lock()
		sb, declared := k.sb.DeepCopy(), e.declared()
		e.mu.Unlock()
		seen := e.Observer.Observe(ctx, sb, declared, observe.HostLookup)
		if ctx.Err() != nil {
			break
		}
		scheduled := e.scheduled(sb, k)
		e.Observer.CountOverdue(name, seen.Findings, status.Overdue(seen, scheduled))
		sb.Status = status.After(seen, scheduled, sb.Status)
		e.mu.Lock()
		if k.sb.Generation == sb.Generation {
			logTurned(e.Logger, k.sb, sb)
			k.sb = sb
		}
		e.swap()
		e.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-k.kick:
		case <-time.After(observe.NextLook(sb, seen)):
		}
		if ctx.Err() != nil {
			break
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.kept[name] == nil {
		e.Observer.Forget(name)
	}
}

// declared lists the backends that are declared now. e.mu is held.
func (e *Embedded) declared() []v1alpha1.StorageBackend {
	all := make([]v1alpha1.StorageBackend, 0, len(e.kept))
	for _, k := range e.kept {
		all = append(all, *k.sb)
	}
	return all
}

// swap publishes what is known once every backend was tried. e.mu is held.
func (e *Embedded) swap() {
	declared, opened := e.declared(), e.Observer.Opened()
	if e.Table.Loaded() || status.AllTried(declared, opened) {
		e.Table.Swap(status.Snapshot(declared, e.policies, opened))
	}
}

// warnOfPolicies says at once what a policy's status would say in a cluster. e.mu is held.
func (e *Embedded) warnOfPolicies() {
	conflicts, backends := status.ConflictsOf(e.policies), status.TargetsOf(e.declared())
	for i := range e.policies {
		next := status.Policy(&e.policies[i], conflicts[e.policies[i].Name], backends, time.Now())
		for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionResolvedRefs} {
			if c := meta.FindStatusCondition(next.Conditions, kind); c.Status != metav1.ConditionTrue || c.Reason == status.ReasonPartlyConflicted {
				logPolicy(e.Logger, slog.LevelWarn, e.policies[i].Name, *c)
			}
		}
	}
}
