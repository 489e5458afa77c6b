package registry

import (
	"context"

	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

// NewLedger lists what a verification of one backend reads, and records what it
// finds, in a registry of this process or another.
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
