package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) catCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cat PRODUCER/NAME[@VERSION|:TAG] PATH...",
		Short: "Print files of a package",
		Long: `Print the bytes of files of a package to standard output, one after the other.
Each is compared with its digests; if they differ, the exit code is 3, after the
bytes were printed.`,
		Example:           "  artifactstore cat ci/webapp@1.4.2 config.json | jq .",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completePackages,
		RunE:              a.verb(a.cat),
	}
}

func (a *app) cat(ctx context.Context, args []string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	ref, err := a.findRef(ctx, client, args[0], 0)
	if err != nil {
		return err
	}
	for _, path := range args[1:] {
		if err := a.catOne(ctx, client, ref, path); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) catOne(ctx context.Context, client registry.Blobs, ref registry.PackageRef, path string) error {
	if err := registry.ValidatePath("path", path); err != nil {
		return asUsage(err)
	}
	file, err := client.FindFile(ctx, ref, path)
	if errors.Is(err, registry.ErrNotFound) {
		return named(ref.String(), noPath(path))
	}
	if err != nil {
		return named(ref.String(), err)
	}
	body, _, err := client.OpenFile(ctx, ref, path, nil)
	if err != nil {
		return named(path, err)
	}
	defer body.Close() //nolint:errcheck // opened for reading
	hasher := digest.NewHasher()
	if _, err := io.Copy(io.MultiWriter(a.stdout, hasher), body); err != nil {
		return named(path, err)
	}
	if got := hasher.Sum(); got != file.Digests {
		return integrity(path, "expected %s, received %s", file.Digests.SHA256, got.SHA256)
	}
	return nil
}
