package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/coulomb/artifact-store/cmd/artifactstore/credentials"
	"github.com/coulomb/artifact-store/pkg/interrupt"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// promptToken asks for a token on the terminal, which does not show it.
func (a *app) promptToken(ctx context.Context, server string) (storage.Secret, error) {
	file, is := a.stdin.(*os.File)
	if !is || !term.IsTerminal(int(file.Fd())) {
		return storage.Secret{}, usage("%s requires a token, and there is no terminal to ask for it: give --token-file FILE, --token-file - (standard input), --token-command or --kubernetes", server)
	}
	terminal := int(file.Fd())
	before, err := term.GetState(terminal)
	if err != nil {
		return storage.Secret{}, err
	}
	fmt.Fprintf(a.stderr, "Token for %s: ", printable(server))
	text, err := interrupt.Do(ctx, func() ([]byte, error) { return term.ReadPassword(terminal) })
	if ctx.Err() != nil { // it still reads, with the echo off
		err = errors.Join(ctx.Err(), term.Restore(terminal, before))
	}
	fmt.Fprintln(a.stderr)
	if err != nil {
		return storage.Secret{}, err
	}
	token, err := credentials.Parse(string(text), "what was typed")
	return token, asUsage(err)
}
