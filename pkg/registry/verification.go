package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// verifyConcurrency: each reader holds one connection and a few MiB.
	verifyConcurrency = 4
	// maxReportedFailures bounds a report; the log has them all.
	maxReportedFailures = 100
	// maxUnreachable ends a run: a backend that does not answer is not asked a
	// million times.
	maxUnreachable = 20
)

// VerifyBackend implements Backends.
func (s *Service) VerifyBackend(ctx context.Context, nameOrID string, progress func(VerifyReport)) (VerifyReport, error) {
	backend, err := s.findBackend(nameOrID)
	if err != nil {
		return VerifyReport{}, err
	}
	run := &verification{service: s, backend: backend, progress: progress,
		report: VerifyReport{Backend: backend.Name, BackendID: backend.ID}}
	if backend.Store == nil || backend.ID == "" {
		return run.report, fmt.Errorf("%w: %s: %s", ErrUnavailable, backend.Name, backend.Message)
	}
	if _, running := s.verifying.LoadOrStore(backend.ID, struct{}{}); running {
		return run.report, &ConflictError{Field: "backend", Message: "a verification of " + backend.Name + " is running"}
	}
	defer s.verifying.Delete(backend.ID)
	if err = s.checkMarker(ctx, backend); err == nil {
		err = run.all(ctx)
	}
	// What was found before the end stands, however the run ended.
	err = errors.Join(err, run.flush(context.WithoutCancel(ctx)))
	if err != nil {
		run.report.Error = err.Error()
	} else {
		run.report.Done = true
	}
	run.tell()
	return run.report, err
}

// verification is one run. For one goroutine.
type verification struct {
	service  *Service
	backend  placement.Backend
	progress func(VerifyReport)
	report   VerifyReport
	intact   [][]byte // not logged yet
	head     uint64   // of the log, when the objects under way were listed
}

func (v *verification) tell() {
	if v.progress != nil {
		v.progress(v.report)
	}
}

// all walks the locations oldest-verified first. Those found during the run
// move behind the head that the run began with, so it ends.
func (v *verification) all(ctx context.Context) error {
	head, err := v.service.log.Head(ctx)
	if err != nil {
		return err
	}
	if err := v.service.read(ctx, func(tx database.Tx) (err error) {
		v.report.Objects, v.report.Bytes, err = view.CountLocations(ctx, tx, v.backend.ID)
		return err
	}); err != nil {
		return err
	}
	v.tell()
	for cursor := (*view.ToCheck)(nil); ; {
		var page []view.ToCheck
		if err := v.service.read(ctx, func(tx database.Tx) error {
			now, err := eventlog.HeadTx(ctx, tx)
			if err != nil {
				return err
			}
			v.head = now.Position
			page, err = view.ListToCheck(ctx, tx, v.backend.ID, head.Position, cursor, event.MaxDigests)
			return err
		}); err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		cursor = &page[len(page)-1]
		wants := make([]verify.Want, len(page))
		for i, c := range page {
			wants[i] = verify.Want{Digests: c.Digests, Size: c.Size}
		}
		if err := verify.Objects(ctx, v.backend.Store, wants, verifyConcurrency, func(r verify.Result) error { return v.found(ctx, r) }); err != nil {
			return err
		}
		if err := v.flush(ctx); err != nil {
			return err
		}
	}
	if v.report.Unreachable > 0 {
		return fmt.Errorf("%w: %d objects could not be read; nothing is said about their bytes", storage.ErrUnreachable, v.report.Unreachable)
	}
	if v.report.CheckedObjects == 0 && v.report.Objects > 0 {
		return fmt.Errorf("nothing was looked at, though %d objects should be there", v.report.Objects)
	}
	return nil
}

func (v *verification) found(ctx context.Context, r verify.Result) error {
	if r.Finding == verify.Unreachable {
		v.service.logger.WarnContext(ctx, "verifying", "backend", v.backend.Name, "digest", r.Digests.SHA256.String(), "error", r.Detail)
		if v.report.Unreachable++; v.report.Unreachable >= maxUnreachable {
			return fmt.Errorf("%w: %d objects could not be read, the last because: %s", storage.ErrUnreachable, v.report.Unreachable, r.Detail)
		}
		return nil
	}
	if r.Finding != verify.Intact {
		// Before anything is called damaged: is this still the backend?
		if err := v.service.checkMarker(ctx, v.backend); err != nil {
			return err
		}
	}
	v.report.CheckedObjects++
	v.report.CheckedBytes += r.Size
	defer v.tell()
	if r.Finding == verify.Intact {
		v.report.Verified++
		v.intact = append(v.intact, r.Digests.SHA256.Bytes())
		return nil
	}
	if r.Finding == verify.Missing {
		v.report.Missing++
	} else {
		v.report.Corrupt++
	}
	if len(v.report.Failed) < maxReportedFailures {
		v.report.Failed = append(v.report.Failed, FailedLocation{SHA256: r.Digests.SHA256, Reason: string(r.Finding), Detail: r.Detail})
	}
	return v.append(ctx, event.LocationFailed{
		BackendID: v.backend.ID, SHA256: r.Digests.SHA256.Bytes(), Reason: string(r.Finding), Detail: r.Detail,
	}, func(ctx context.Context, tx database.Tx) (bool, error) {
		// Bytes that were stored after they were read here are not what was found.
		changed, err := view.Changed(ctx, tx, v.backend.ID, r.Digests.SHA256)
		return changed <= v.head, err
	})
}

// flush logs what was found intact.
func (v *verification) flush(ctx context.Context) error {
	if len(v.intact) == 0 {
		return nil
	}
	err := v.append(ctx, event.LocationVerified{BackendID: v.backend.ID, SHA256: v.intact},
		func(context.Context, database.Tx) (bool, error) { return true, nil })
	v.intact = nil
	return err
}

// append logs a finding, if it still holds when the log's head is locked.
func (v *verification) append(ctx context.Context, payload event.Payload, holds func(context.Context, database.Tx) (bool, error)) error {
	logged, err := event.New(actorOf(ctx), payload)
	if err != nil {
		return err
	}
	_, err = v.service.log.Append(ctx, func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		if ok, err := holds(ctx, tx); err != nil || !ok {
			return nil, err
		}
		return []eventlog.Event{logged}, nil
	})
	return err
}
