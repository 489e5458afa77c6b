package client

import (
	"testing"

	"github.com/coulomb/artifact-store/pkg/serving"
)

// TestIdleTimeout: the client closes an idle connection well before the server does.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	if 2*idleTimeout > serving.IdleTimeout {
		t.Errorf("the client keeps idle connections for %s, the server for %s", idleTimeout, serving.IdleTimeout)
	}
}
