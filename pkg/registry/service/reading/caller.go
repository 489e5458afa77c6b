package reading

import (
	"context"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// WhoAmI implements registry.Callers: what is behind no guard is open to everybody.
func (*Reader) WhoAmI(ctx context.Context, producer string) (registry.Caller, error) {
	return registry.Unguarded(ctx, producer)
}
