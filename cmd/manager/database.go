package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry/service"
)

const databaseEnv = "ARTIFACTSTORE_DATABASE"

// databaseFlag declares the flag of verbs that work on the database itself.
// Call the result after the flags are parsed.
func databaseFlag(set *flag.FlagSet, env environment) (open func(ctx context.Context) (*database.DB, error)) {
	address := set.String("database", "", "sqlite:///path or postgres://… `URL`; "+databaseEnv+" sets the default and keeps a password out of the process list")
	return func(ctx context.Context) (*database.DB, error) {
		if *address == "" {
			*address = env.getenv(databaseEnv)
		}
		return openExisting(ctx, *address)
	}
}

// openExisting opens a database only if it exists. Opening SQLite creates a missing
// file, and a mistyped path must not leave an empty database behind.
func openExisting(ctx context.Context, address string) (*database.DB, error) {
	if address == "" {
		return nil, &usageError{errors.New("database: set --database or " + databaseEnv)}
	}
	if escaped, ok := strings.CutPrefix(address, "sqlite://"); ok {
		if path, err := url.PathUnescape(escaped); err == nil {
			if _, err := os.Stat(path); err != nil {
				return nil, fmt.Errorf("database: %w", err)
			}
		}
	}
	return database.Open(ctx, address)
}

// startPatience is how long a start waits for a database that can be reached and does
// not let it begin: one that fails over just now, or in which another replica hangs. A
// manager that ends instead is started again ever later.
const startPatience = 30 * time.Second

var startRetries = backoff.Policy{First: 200 * time.Millisecond, Most: 2 * time.Second}

// openService opens the registry in its database.
func openService(ctx context.Context, options service.Options) (*service.Service, error) {
	until := time.Now().Add(startPatience)
	for n := 1; ; n++ {
		opened, err := service.Open(ctx, options)
		if !errors.Is(err, database.ErrUnavailable) || time.Now().After(until) || !startRetries.Wait(ctx, n) {
			return opened, err
		}
		options.Logger.WarnContext(ctx, "the database does not let the registry begin, which is tried again", "error", err)
	}
}
