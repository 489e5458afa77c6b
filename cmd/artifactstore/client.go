package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/coulomb/artifact-store/cmd/artifactstore/credentials"
	"github.com/coulomb/artifact-store/cmd/artifactstore/diagnose"
	"github.com/coulomb/artifact-store/cmd/artifactstore/kubectl"
	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// connection holds the address of the registry and the caller's credentials.
type connection struct {
	server string
	// from says who named the address, and tokenFrom who named the token, in words.
	from, tokenFrom string
	// context that the address is of, "" for none.
	context string
	// tokenFile is reread while the program runs. It takes precedence over
	// token, which comes from the environment, and that over source.
	tokenFile string
	token     storage.Secret
	source    credentials.Source // of the context, nil if it has none
	// insecureToken allows the token over plain http to other machines.
	insecureToken bool
	caFile        string
	// patience with a registry that is away; the zero value has none.
	patience client.Patience
	tunnel   *kubectl.Tunnel // nil for none
}

// tokens returns where tokens come from, nil if requests carry none.
func (c connection) tokens() (credentials.Source, error) {
	switch {
	case c.tokenFile != "":
		source := credentials.File(c.tokenFile)
		_, err := source() // an error is about the arguments
		return source, err
	case !c.token.IsZero():
		return credentials.Fixed(c.token), nil
	}
	return c.source, nil
}

// connect makes a client of the registry. It sends nothing yet, so every error
// is about the arguments.
func connect(c connection) (registry.Registry, error) {
	made, err := newClient(c)
	if err != nil {
		return nil, err
	}
	return made, nil
}

func newClient(c connection) (*client.Client, error) {
	opts := client.Options{UserAgent: "artifactstore/" + programVersion(), InsecureToken: c.insecureToken, Patience: c.patience}
	source, err := c.tokens()
	if err != nil {
		return nil, asUsage(err)
	}
	if source != nil {
		opts.Token = source
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
	if c.tunnel != nil {
		opts.Dial = c.tunnel.Dial
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

// explain adds to an error of the connection what to do about it.
func (a *app) explain(ctx context.Context, err error) error {
	c := a.connection
	if err == nil || c.server == "" {
		return err
	}
	place := diagnose.Place{Server: c.server, From: c.from, TokenFrom: c.tokenFrom, CAFile: c.caFile}
	if errors.Is(err, registry.ErrUnauthenticated) {
		if source, failed := c.tokens(); failed == nil && source != nil {
			if token, failed := source(); failed == nil {
				if times, known := credentials.TimesOf(token); known {
					place.Token = &times
				}
			}
		}
	}
	if c.context != "" && c.source != nil {
		place.Renew = "artifactstore login --context " + c.context
	}
	return diagnose.Explain(ctx, err, place)
}
