package main

import (
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/httpapi"
)

// connect makes a client of the registry at a base URL. Nothing is sent yet,
// so all that can be wrong is the address.
func connect(server string) (registry.Registry, error) {
	client, err := httpapi.NewClient(server, httpapi.ClientOptions{UserAgent: "artifactstore/" + programVersion()})
	if err != nil {
		return nil, asUsage(err)
	}
	return client, nil
}
