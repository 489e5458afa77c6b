package custody

import (
	"context"
	"errors"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

// VerifyBackend implements Verifications.
func (k *Keeper) VerifyBackend(ctx context.Context, nameOrID string, o registry.VerifyOptions, progress func(registry.VerifyReport)) (registry.VerifyReport, error) {
	if err := checkOptions(o); err != nil {
		return registry.VerifyReport{}, err
	}
	backend, err := k.core.FindBackend(nameOrID)
	if err != nil {
		return registry.VerifyReport{}, err
	}
	report := registry.VerifyReport{Backend: backend.Name, BackendID: backend.ID}
	if backend.Store == nil || backend.ID == "" {
		return report, core.Unavailable(backend)
	}
	ctx, free, err := k.lease(ctx, "verification "+backend.ID)
	if errors.Is(err, errLeased) {
		return report, &registry.ConflictError{Field: "backend", Message: "a verification of " + backend.Name + " is running"}
	}
	if err != nil {
		return report, err
	}
	defer free()
	return verify.Run(ctx, verify.Task{
		Ledger: registry.NewLedger(k, backend.ID), Source: backend.Store, Options: o, Report: report, Progress: progress,
		Same: func(ctx context.Context) error { return k.core.CheckMarker(ctx, backend) },
		Unread: func(r verify.Result) {
			k.core.Logger.WarnContext(ctx, "verifying", "backend", backend.Name, "digest", r.Digests.SHA256.String(), "error", r.Detail)
		},
		Now: k.core.Now,
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
