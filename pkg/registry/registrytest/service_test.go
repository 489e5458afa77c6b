package registrytest_test

import (
	"testing"

	"github.com/coulomb/artifact-store/pkg/registry/registrytest"
	"github.com/coulomb/artifact-store/test/servers"
)

func TestServiceOnSQLite(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, func(t *testing.T) registrytest.Fixture { return registrytest.OpenService(t, "") })
}

func TestServiceOnPostgreSQL(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, func(t *testing.T) registrytest.Fixture { return registrytest.OpenService(t, servers.Postgres(t)) })
}
