package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/access/kubernetes"
	"github.com/coulomb/artifact-store/pkg/access/tokenfile"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service"
)

// accessControl is authentication and authorization; its zero value disables both.
type accessControl struct {
	authenticator access.Authenticator
	authorizer    access.Authorizer
	// keep refreshes the rules until its context ends; nil if there is nothing to refresh.
	keep func(ctx context.Context)
}

// openAccess authenticates tokens by a file or, in a cluster, by the API server.
func openAccess(o options, cluster *rest.Config, metrics prometheus.Registerer, logger *slog.Logger) (accessControl, error) {
	switch {
	case o.anonymous():
		return accessControl{}, nil
	case cluster == nil:
		tokens, err := tokenfile.Open(o.tokenFile, logger)
		if err != nil {
			return accessControl{}, fmt.Errorf("--token-file: %w", err)
		}
		return accessControl{authenticator: tokens, authorizer: tokens, keep: tokens.Run}, nil
	}
	server, err := kubernetes.New(kubernetes.Config{Rest: cluster, Namespace: o.namespace, Audience: o.tokenAudience, Logger: logger, Metrics: metrics})
	if err != nil {
		return accessControl{}, err
	}
	return accessControl{authenticator: server, authorizer: server, keep: server.Run}, nil
}

func (a accessControl) run(ctx context.Context) {
	if a.keep != nil {
		a.keep(ctx)
	}
}

// guard returns the registry that serves requests.
func (a accessControl) guard(service *service.Service) registry.Registry {
	if a.authorizer == nil {
		return service
	}
	return access.Guard(service, a.authorizer, service)
}
