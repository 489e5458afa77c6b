package registrytest_test

import (
	"testing"

	"github.com/coulomb/artifact-store/pkg/registry/registrytest"
)

func TestService(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, func(t *testing.T) registrytest.Fixture { return registrytest.OpenService(t, "") })
}
