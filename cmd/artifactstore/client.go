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

// connection says where the registry is, and who asks it.
type connection struct {
	server string
	// tokenFile is read again while the program runs; token is what the
	// environment gave, and stands if there is no file.
	tokenFile string
	token     storage.Secret
	// insecureToken sends the token in the clear to another machine.
	insecureToken bool
	caFile        string
}

// hasToken: nothing is sent of who asks otherwise.
func (c connection) hasToken() bool { return c.tokenFile != "" || !c.token.IsZero() }

// connect makes a client of the registry. Nothing is sent yet, so all that can
// be wrong is what was given.
func connect(c connection) (registry.Registry, error) {
	opts := client.Options{UserAgent: "artifactstore/" + programVersion(), InsecureToken: c.insecureToken}
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
			return nil, usage("ca-file: %s holds no certificate in PEM", c.caFile)
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

// explainAccess adds to a 401 how a token is given, if none was.
func explainAccess(err error, c connection) error {
	if errors.Is(err, access.ErrUnauthenticated) && !c.hasToken() {
		return fmt.Errorf("%w; give one by --token-file, %s or %s", err, tokenFileEnv, tokenEnv)
	}
	return err
}
