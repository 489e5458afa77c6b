package registry

import (
	"cmp"
	"context"
	"errors"

	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

// VerifyBackend implements Verifications.
func (s *Service) VerifyBackend(ctx context.Context, nameOrID string, o VerifyOptions, progress func(VerifyReport)) (VerifyReport, error) {
	if err := checkOptions(o); err != nil {
		return VerifyReport{}, err
	}
	backend, err := s.findBackend(nameOrID)
	if err != nil {
		return VerifyReport{}, err
	}
	report := VerifyReport{Backend: backend.Name, BackendID: backend.ID}
	if backend.Store == nil || backend.ID == "" {
		return report, unavailable(backend)
	}
	if _, running := s.verifying.LoadOrStore(backend.ID, struct{}{}); running {
		return report, &ConflictError{Field: "backend", Message: "a verification of " + backend.Name + " is running"}
	}
	defer s.verifying.Delete(backend.ID)
	return verify.Run(ctx, verify.Task{
		Ledger: NewLedger(s, backend.ID), Source: backend.Store, Options: o, Report: report, Progress: progress,
		Same: func(ctx context.Context) error { return s.checkMarker(ctx, backend) },
		Unread: func(r verify.Result) {
			s.logger.WarnContext(ctx, "verifying", "backend", backend.Name, "digest", r.Digests.SHA256.String(), "error", r.Detail)
		},
		Now: s.now,
	})
}

func checkOptions(o VerifyOptions) error {
	var wrong *verify.OptionError
	err := o.Validate()
	if errors.As(err, &wrong) {
		return &InvalidError{Field: wrong.Field, Message: wrong.Message}
	}
	return err
}

func unavailable(b placement.Backend) error {
	return &UnavailableError{b.Name, b.Reason, cmp.Or(b.Message, "it is not open here")}
}

// NewLedger is the work of a verification of one backend, listed by and
// recorded in a registry: this process's or another.
func NewLedger(registry Verifications, backendID string) verify.Ledger {
	return ledger{registry, backendID}
}

type ledger struct {
	registry  Verifications
	backendID string
}

func (l ledger) List(ctx context.Context, failed bool, after string) (verify.Page, error) {
	page, err := l.registry.ListLocations(ctx, l.backendID, LocationQuery{Failed: failed, After: after})
	return page.Page, err
}

func (l ledger) Record(ctx context.Context, found verify.Found) error {
	_, err := l.registry.RecordFindings(ctx, l.backendID, found)
	return err
}
