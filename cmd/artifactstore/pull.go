package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

type pullOptions struct {
	dir         string
	force       bool
	concurrency int
}

func (a *app) pullCommand() *cobra.Command {
	var o pullOptions
	command := &cobra.Command{
		Use:   "pull PRODUCER/NAME@VERSION",
		Short: "Fetch a package and check both digests of every file",
		Long: `Fetch every file of a package into a folder. Each file is written under a
temporary name, checked against both digests, and then renamed. Existing files
that match are kept. If an existing file differs, pull fails before it fetches
anything, unless --force is set. Symbolic links are made last, and nothing is
written through one.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePackages,
		RunE:              a.verb(func(ctx context.Context, args []string) error { return a.pull(ctx, o, args[0]) }),
	}
	flags := command.Flags()
	flags.StringVarP(&o.dir, "directory", "d", ".", "target folder; created if missing")
	flags.BoolVar(&o.force, "force", false, "overwrite files that differ")
	flags.IntVar(&o.concurrency, "concurrency", defaultConcurrency, "files fetched in parallel")
	must(command.MarkFlagDirname("directory"))
	return command
}

type pulled struct {
	registry.PackageRef
	ManifestDigest digest.Digest `json:"manifestDigest"`
	Directory      string        `json:"directory"`
	Files          int           `json:"files"`
	Bytes          int64         `json:"bytes"`
	FetchedFiles   int           `json:"fetchedFiles"`
	FetchedBytes   int64         `json:"fetchedBytes"`
	KeptFiles      int           `json:"keptFiles"`
	Links          int           `json:"links,omitempty"`
	EmptyFolders   int           `json:"emptyFolders,omitempty"`
}

func (a *app) pull(ctx context.Context, o pullOptions, name string) error {
	ref, err := registry.ParsePackageRef(name)
	if err != nil {
		return asUsage(err)
	}
	if o.concurrency < 1 {
		return usage("concurrency: must be at least 1, is %d", o.concurrency)
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	encoded, m, err := readManifest(ctx, client, ref)
	if err != nil {
		return err
	}
	target, err := openTarget(o.dir)
	if err != nil {
		return err
	}
	defer target.close()
	links, err := target.checkExtras(m, o.force)
	if err != nil {
		return err
	}
	comparing := a.meter("comparing", m.Bytes())
	missing, err := target.compare(ctx, m.Files, o.force, comparing)
	comparing.finish()
	if err != nil {
		return err
	}
	var fetched int64
	for _, f := range missing {
		fetched += f.Size
	}
	if err := target.makeFolders(m.Folders); err != nil {
		return err
	}
	progress := a.meter("fetching", fetched)
	err = target.fetch(registry.WithHolder(ctx, ref.Producer), client, missing, o.concurrency, progress)
	progress.finish()
	if err != nil {
		return err
	}
	if err := target.finish(links, m.Folders); err != nil {
		return err
	}
	result := pulled{
		PackageRef: ref, ManifestDigest: manifest.Digest(encoded), Directory: o.dir,
		Files: len(m.Files), Bytes: m.Bytes(),
		FetchedFiles: len(missing), FetchedBytes: fetched, KeptFiles: len(m.Files) - len(missing),
		Links: len(m.Links), EmptyFolders: m.EmptyFolders(),
	}
	return a.print(result, func(w *tabwriter.Writer) {
		field(w, "package", result.PackageRef)
		field(w, "manifest", result.ManifestDigest)
		field(w, "directory", result.Directory)
		field(w, "files", result.Files)
		field(w, "bytes", result.Bytes)
		recordedOf{Links: result.Links, EmptyFolders: result.EmptyFolders}.print(w)
		field(w, "fetched", fmt.Sprintf("%d files, %d bytes", result.FetchedFiles, result.FetchedBytes))
		field(w, "kept", fmt.Sprintf("%d files", result.KeptFiles))
	})
}

// readManifest fetches the manifest that the registry announces for ref. It
// verifies both the bytes and the name inside.
func readManifest(ctx context.Context, client registry.Packages, ref registry.PackageRef) ([]byte, *manifest.Manifest, error) {
	ctx = registry.WithHolder(ctx, ref.Producer)
	pkg, err := client.GetPackage(ctx, ref)
	if err != nil {
		return nil, nil, named(ref.String(), err)
	}
	encoded, err := client.GetManifest(ctx, pkg.ManifestDigest)
	if err != nil {
		return nil, nil, named("manifest of "+ref.String(), err)
	}
	if got := manifest.Digest(encoded); got != pkg.ManifestDigest {
		return nil, nil, integrity("manifest of "+ref.String(), "expected %s, received %s", pkg.ManifestDigest, got)
	}
	m, err := manifest.Decode(encoded)
	if err != nil {
		return nil, nil, integrity("manifest of "+ref.String(), "%v", err)
	}
	if inside := (registry.PackageRef{Producer: m.Producer, Name: m.Name, Version: m.Version}); inside != ref {
		return nil, nil, integrity("manifest of "+ref.String(), "it describes %s instead", inside)
	}
	return encoded, m, nil
}
