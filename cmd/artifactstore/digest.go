package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/interrupt"
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

func (a *app) digest(ctx context.Context, paths []string) error {
	for _, path := range paths {
		// A named pipe or standard input may never begin, or end.
		found, err := interrupt.Do(ctx, func() (fileDigest, error) { return a.digestOf(path) })
		if err != nil {
			return err
		}
		line := func() string { return fmt.Sprintf("%s  %s", found.Dual, shown(path)) }
		if err := a.printStream(found, line); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) digestOf(path string) (fileDigest, error) {
	from := a.stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return fileDigest{}, err
		}
		defer file.Close()
		from = file
	}
	sum, size, err := digest.Copy(io.Discard, from)
	return fileDigest{path, size, sum}, err
}
