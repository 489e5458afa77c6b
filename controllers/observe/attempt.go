package observe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
)

// attempt tries what is declared: with the serving driver if that has the config,
// else with a new driver, which replaces the serving one only after a successful
// trial. With writes it puts an object, if that is allowed. The result is in
// d.problem and d.lastGood. It does nothing if the endpoint's breaker turns it
// away. d.mu is held.
func (o *Observer) attempt(ctx context.Context, d *driver, sb *v1alpha1.StorageBackend, config backends.Config, writes bool) *status.Away {
	d.declare(config)
	done, away := o.breakers.enter(breakerOf(sb), sb.Name, d.untried(requestOf(sb)) || d.tried.generation != 0 && d.tried.generation != sb.Generation)
	if away != nil {
		if away.Problem != nil && (d.problem == nil || !d.has(config)) {
			d.problem = away.Problem
			d.standLastGood(sb, config)
		}
		return away
	}
	defer func() { done(d.problem) }()
	d.tried.config, d.tried.generation, d.tried.at, d.tried.ready, d.tried.request = config, sb.Generation, o.now(), statusReady(sb), requestOf(sb)
	writes = writes && sb.Spec.Access != v1alpha1.ReadOnly && !sb.Spec.Probe.Suspend && !d.keeps(config, sb)
	if d.has(config) {
		d.problem, d.lastGood = o.inspectServing(ctx, d, sb, writes), status.LastGoodNone
		d.declared.ours = d.id != ""
		return nil
	}
	store, wrong := o.open(ctx, config)
	if wrong != nil {
		d.problem = wrong
		o.tryLastGood(ctx, d, sb)
		return nil
	}
	id, wrong := o.inspect(ctx, sb, config, store, "", writes)
	d.declared.ours = id != ""
	next := serving{store: store, config: config, id: id, spec: *sb.Spec.DeepCopy()}
	if wrong == nil {
		// Requests in flight end on the driver that they have.
		o.drivers.replace(d, next)
		o.metrics.served(sb.Name, o.now())
		d.problem, d.lastGood = nil, status.LastGoodNone
		return nil
	}
	d.problem = wrong
	o.tryLastGood(ctx, d, sb)
	if id != "" && d.lastGood != status.LastGoodServes {
		// It can be read at least, which is no less than what there was.
		o.drivers.replace(d, next)
		o.metrics.served(sb.Name, o.now())
		return nil
	}
	store.Close() //nolint:errcheck // nothing was written through it but what a probe has deleted
	return nil
}

// open opens a driver; for a bucket that is no I/O.
func (o *Observer) open(ctx context.Context, config backends.Config) (storage.Backend, *declared.Problem) {
	if wrong := o.confined(config); wrong != nil {
		return nil, wrong
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	store, err := backends.Open(ctx, config, o.pool)
	if err != nil && config.S3 != nil {
		// It did no I/O: a field does not fit how the manager was started.
		return nil, declared.Problemf(v1alpha1.ConditionReachable, declared.ReasonInvalidSpec, "spec.%s", err)
	}
	if err != nil {
		return nil, placeProblem(v1alpha1.ConditionReachable, err)
	}
	return store, nil
}

// inspect goes through the stages and stops at the first problem. It returns the
// id of a place that is ours, also if the place cannot be written to. before is the id
// that the place had, if it was ours.
func (o *Observer) inspect(ctx context.Context, sb *v1alpha1.StorageBackend, config backends.Config, store storage.Backend, before string, writes bool) (id string, wrong *declared.Problem) {
	ctx, cancel := context.WithTimeout(ctx, declared.ProbeTimeout(sb))
	defer cancel()
	if id, wrong = o.identify(ctx, sb, config, store, before); wrong != nil || !writes {
		return id, wrong
	}
	probing, err := backends.ForProbe(ctx, store, config, buffer.New(probeBuffer, probeBuffer))
	if err != nil {
		return id, placeProblem(v1alpha1.ConditionWritable, err)
	}
	defer probing.Close() //nolint:errcheck // whatever it held was deleted or is the probe's own
	return id, probeProblem(probe.Small(ctx, probing))
}

// inspectServing inspects the serving driver. It is dropped if its place is gone
// or belongs to another log or backend.
func (o *Observer) inspectServing(ctx context.Context, d *driver, sb *v1alpha1.StorageBackend, writes bool) *declared.Problem {
	id, wrong := o.inspect(ctx, sb, d.config, d.store, d.id, writes)
	switch {
	case wrong != nil && slices.Contains([]string{status.ReasonForeignMarker, storage.ReasonBucketNotFound, storage.ReasonFolderNotFound}, wrong.Reason):
		// What stands there now must be opened, and known, anew; not even reads go there meanwhile.
		o.drivers.drop(d)
	case id != "":
		d.id = id
	}
	return wrong
}

// identify checks that the place answers and matches its marker with the log.
// A read-only place that has none is not written to. While the database is away, a
// place that is what it was before stays ours.
func (o *Observer) identify(ctx context.Context, sb *v1alpha1.StorageBackend, config backends.Config, store storage.Backend, before string) (string, *declared.Problem) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := store.Health(ctx); err != nil {
		return "", placeProblem(v1alpha1.ConditionReachable, err)
	}
	if sb.Spec.Access == v1alpha1.ReadOnly {
		if _, err := store.ReadMarker(ctx); errors.Is(err, storage.ErrNotFound) {
			return "", declared.Problemf(v1alpha1.ConditionReachable, status.ReasonNoMarker, "the place has no marker, and none is written to a ReadOnly backend")
		}
	}
	id, err := o.registrar.RegisterBackend(ctx, sb.Name, config.Driver(), config.Place(), known{store, func(ctx context.Context) error { return o.elsewhere(ctx, sb, "") }})
	if errors.Is(err, registrar.ErrNotRecorded) && id != "" && id == before {
		err = nil
	}
	if err == nil {
		err = o.elsewhere(ctx, sb, id)
	}
	if err != nil {
		return "", identityProblem(err)
	}
	return id, nil
}

// known is a place that is marked only where nothing is expected in it.
type known struct {
	storage.Marked
	unexpected func(ctx context.Context) error
}

// CreateMarker implements storage.Marked.
func (k known) CreateMarker(ctx context.Context, marker []byte) ([]byte, error) {
	if err := k.unexpected(ctx); err != nil {
		return nil, err
	}
	return k.Marked.CreateMarker(ctx, marker)
}

// elsewhere returns an error if the declaration leads to a different place than
// before while the log names blobs in the old one: the endpoint was changed, and
// the bucket of that name there is a different one.
func (o *Observer) elsewhere(ctx context.Context, sb *v1alpha1.StorageBackend, id string) error {
	was := sb.Status.ID
	if was == "" || was == id {
		return nil
	}
	found, err := o.registrar.Findings(ctx, was)
	if err != nil || found.Live == 0 {
		return err
	}
	what := "has no marker"
	if id != "" {
		what = "is the backend " + id
	}
	return fmt.Errorf("%w: it %s; this StorageBackend was the backend %s, in which the log names %d live locations", registrar.ErrForeignMarker, what, was, found.Live)
}

// unresolved records a declaration that cannot even be tried. d.mu is held.
func (d *driver) unresolved(sb *v1alpha1.StorageBackend, wrong *declared.Problem) {
	d.declare(backends.Config{})
	d.problem = wrong
	d.standLastGood(sb, backends.Config{})
}

// standLastGood sets d.lastGood without a look at the serving driver.
func (d *driver) standLastGood(sb *v1alpha1.StorageBackend, config backends.Config) {
	switch {
	case d.has(config) || d.id == "" || !d.differsInCredentials(sb.Spec):
		d.lastGood = status.LastGoodNone
	case d.lastGood == status.LastGoodNone:
		d.lastGood, d.lost = status.LastGoodServes, 0 // until it is found otherwise
	}
}

// tryLastGood looks at the serving driver if the current declaration differs from
// it in credentials alone. The previous credentials stay in use until the server
// refuses them, or gives no answer failureThreshold times in a row. d.mu is held.
func (o *Observer) tryLastGood(ctx context.Context, d *driver, sb *v1alpha1.StorageBackend) {
	d.standLastGood(sb, backends.Config{})
	if d.lastGood == status.LastGoodNone {
		return
	}
	wrong := o.inspectServing(ctx, d, sb, sb.Spec.Access != v1alpha1.ReadOnly && !sb.Spec.Probe.Suspend && !d.keeps(d.config, sb))
	switch {
	case wrong == nil:
		d.lastGood, d.lost = status.LastGoodServes, 0
	case wrong.Lost:
		if d.lost++; d.lost >= declared.FailureThreshold(sb) {
			d.lastGood = status.LastGoodFailed
		}
	default:
		d.lastGood = status.LastGoodFailed
	}
}

// confined checks that no symbolic link leads a folder out of the local root.
func (o *Observer) confined(config backends.Config) *declared.Problem {
	if config.Local == nil {
		return nil
	}
	root, err := filepath.EvalSymlinks(o.settings.LocalRoot)
	if errors.Is(err, fs.ErrNotExist) {
		return declared.Problemf(v1alpha1.ConditionReachable, storage.ReasonFolderNotFound,
			"spec.local.path: the manager's --local-root %q does not exist: mount a volume below it in the manager's pods", o.settings.LocalRoot)
	}
	if err != nil {
		return declared.Problemf(v1alpha1.ConditionReachable, declared.ReasonPathRefused, "spec.local.path: the manager's --local-root %q cannot be resolved", o.settings.LocalRoot)
	}
	path, err := filepath.EvalSymlinks(config.Local.Path)
	if err == nil && !declared.Beneath(root, path) {
		return declared.Problemf(v1alpha1.ConditionReachable, declared.ReasonPathRefused, "spec.local.path: a symbolic link leads out of the manager's --local-root")
	}
	return nil // what does not exist yet is judged by the driver
}

// stillRecorded is the problem of an endpoint that did not answer: in the words
// of the recorded status where it says that already, so that it stays as it is.
func stillRecorded(wrong *declared.Problem, sb *v1alpha1.StorageBackend) *declared.Problem {
	if sb.Status.ObservedGeneration != sb.Generation {
		return wrong
	}
	for _, kind := range []string{v1alpha1.ConditionCredentialsResolved, v1alpha1.ConditionReachable, v1alpha1.ConditionWritable} {
		c := meta.FindStatusCondition(sb.Status.Conditions, kind)
		if c == nil || c.Status == metav1.ConditionTrue {
			continue
		}
		if is := (&declared.Problem{Condition: kind, Reason: c.Reason, Message: c.Message, Lost: true}); noAnswer(is) {
			return is
		}
		return wrong
	}
	return wrong
}
