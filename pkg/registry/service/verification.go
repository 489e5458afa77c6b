package service

import (
	"cmp"
	"context"
	"errors"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

// VerifyBackend implements Verifications.
func (s *Service) VerifyBackend(ctx context.Context, nameOrID string, o registry.VerifyOptions, progress func(registry.VerifyReport)) (registry.VerifyReport, error) {
	if err := checkOptions(o); err != nil {
		return registry.VerifyReport{}, err
	}
	backend, err := s.findBackend(nameOrID)
	if err != nil {
		return registry.VerifyReport{}, err
	}
	report := registry.VerifyReport{Backend: backend.Name, BackendID: backend.ID}
	if backend.Store == nil || backend.ID == "" {
		return report, unavailable(backend)
	}
	if _, running := s.verifying.LoadOrStore(backend.ID, struct{}{}); running {
		return report, &registry.ConflictError{Field: "backend", Message: "a verification of " + backend.Name + " is running"}
	}
	defer s.verifying.Delete(backend.ID)
	return verify.Run(ctx, verify.Task{
		Ledger: registry.NewLedger(s, backend.ID), Source: backend.Store, Options: o, Report: report, Progress: progress,
		Same: func(ctx context.Context) error { return s.checkMarker(ctx, backend) },
		Unread: func(r verify.Result) {
			s.logger.WarnContext(ctx, "verifying", "backend", backend.Name, "digest", r.Digests.SHA256.String(), "error", r.Detail)
		},
		Now: s.now,
	})
}

func checkOptions(o registry.VerifyOptions) error {
	var wrong *verify.OptionError
	err := o.Validate()
	if errors.As(err, &wrong) {
		return &registry.InvalidError{Field: wrong.Field, Message: wrong.Message}
	}
	return err
}

func unavailable(b placement.Backend) error {
	return &registry.UnavailableError{Backend: b.Name, Reason: b.Reason, Message: cmp.Or(b.Message, "it is not open here")}
}
