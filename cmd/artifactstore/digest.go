package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/digest"
)

func (a *app) digestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "digest FILE...",
		Short: "Print both digests of files; - reads standard input",
		Args:  cobra.MinimumNArgs(1),
		RunE:  a.verb(a.digest),
	}
}

type fileDigest struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
	digest.Dual
}

func (a *app) digest(_ context.Context, paths []string) error {
	for _, path := range paths {
		sum, size, err := a.digestOf(path)
		if err != nil {
			return err
		}
		line := func() string { return fmt.Sprintf("%s  %s", sum, path) }
		if err := a.printStream(fileDigest{path, size, sum}, line); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) digestOf(path string) (digest.Dual, int64, error) {
	from := a.stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return digest.Dual{}, 0, err
		}
		defer file.Close()
		from = file
	}
	return digest.Copy(io.Discard, from)
}
