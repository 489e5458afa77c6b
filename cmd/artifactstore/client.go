package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// connection holds the address of the registry and the caller's credentials.
type connection struct {
	server string
	// tokenFile is reread while the program runs. It takes precedence over
	// token, which comes from the environment.
	tokenFile string
	token     storage.Secret
	// insecureToken allows the token over plain http to other machines.
	insecureToken bool
	caFile        string
	// patience with a registry that is away; the zero value has none.
	patience client.Patience
}

// hasToken reports whether requests carry credentials.
func (c connection) hasToken() bool { return c.tokenFile != "" || !c.token.IsZero() }

// connect makes a client of the registry. It sends nothing yet, so every error
// is about the arguments.
func connect(c connection) (registry.Registry, error) {
	opts := client.Options{UserAgent: "artifactstore/" + programVersion(), InsecureToken: c.insecureToken, Patience: c.patience}
	switch {
	case c.tokenFile != "":
		source := &tokenFile{path: c.tokenFile}
		if _, err := source.token(); err != nil {
			return nil, asUsage(err)
		}
		opts.Token = source.token
	case !c.token.IsZero():
		opts.Token = func() (storage.Secret, error) { return c.token, nil }
	}
	if c.caFile != "" {
		pem, err := os.ReadFile(c.caFile)
		if err != nil {
			return nil, usage("ca-file: %w", err)
		}
		if opts.RootCAs = x509.NewCertPool(); !opts.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usage("ca-file: %s contains no PEM certificate", c.caFile)
		}
	}
	server, err := client.New(c.server, opts)
	if errors.Is(err, client.ErrTokenInClear) {
		err = fmt.Errorf("%w; where the network is trusted, set --insecure-token or %s=true", err, insecureTokenEnv)
	}
	if err != nil {
		return nil, asUsage(err)
	}
	return server, nil
}

// explainAccess adds to a 401 how to set a token, if none is set.
func explainAccess(err error, c connection) error {
	if errors.Is(err, access.ErrUnauthenticated) && !c.hasToken() {
		return fmt.Errorf("%w; set --token-file, %s or %s", err, tokenFileEnv, tokenEnv)
	}
	return err
}
