package access_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/registry/registrytest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// everybody knows one token and allows its holder everything.
type everybody struct{}

func (everybody) Authenticate(_ context.Context, token storage.Secret) (access.Identity, error) {
	if token.Reveal() != "the-token" {
		return access.Identity{}, access.Unauthenticated("it is another")
	}
	return access.Identity{Name: "everybody"}, nil
}

func (everybody) Authorize(context.Context, access.Identity, access.Action) error { return nil }

// TestContractThroughGuard runs the registry's contract as someone who may do
// everything, through client, handler and guard.
func TestContractThroughGuard(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, func(t *testing.T) registrytest.Fixture {
		fixture := registrytest.OpenService(t, "")
		guard := access.Guard(fixture.Registry, everybody{}, fixture.Registry.(access.Index))
		server := httptest.NewServer(server.NewHandler(guard, server.Options{Logger: slog.New(slog.DiscardHandler), Authenticator: everybody{}}))
		t.Cleanup(server.Close)
		client, err := client.New(server.URL, client.Options{
			Token: func() (storage.Secret, error) { return storage.NewSecret("the-token"), nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		fixture.Registry = client
		return fixture
	})
}
