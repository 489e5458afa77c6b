package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/access/tokenfile"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// accessControl is who may do what; its zero value asks nobody.
type accessControl struct {
	authenticator access.Authenticator
	authorizer    access.Authorizer
	// keep keeps what it knows up to date until its context ends; nil has nothing to keep.
	keep func(ctx context.Context)
}

func openAccess(o options, logger *slog.Logger) (accessControl, error) {
	if o.anonymous() {
		return accessControl{}, nil
	}
	tokens, err := tokenfile.Open(o.tokenFile, logger)
	if err != nil {
		return accessControl{}, fmt.Errorf("--token-file: %w", err)
	}
	return accessControl{authenticator: tokens, authorizer: tokens, keep: tokens.Run}, nil
}

func (a accessControl) run(ctx context.Context) {
	if a.keep != nil {
		a.keep(ctx)
	}
}

// guard is the registry that requests see.
func (a accessControl) guard(service *registry.Service) registry.Registry {
	if a.authorizer == nil {
		return service
	}
	return access.Guard(service, a.authorizer, service)
}
