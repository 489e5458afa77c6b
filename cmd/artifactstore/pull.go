package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	include     pathGlobs
	exact, yes  bool
	file, to    string
	dirGiven    bool
	expect      string
	at          uint64
}

func (a *app) pullCommand() *cobra.Command {
	var o pullOptions
	command := &cobra.Command{
		Use:   "pull PRODUCER/NAME[@VERSION|:TAG|@sha256:DIGEST]",
		Short: "Fetch a package and check both digests of every file",
		Long: `Fetch every file of a package, or some, into a folder. Each file is written
under a temporary name, checked against both digests, and then renamed. Existing
files that match are kept. If existing files differ, pull fails before it fetches
anything and names all of them, unless --force is set. Symbolic links are made
last, and nothing is written through one.

A pull that was interrupted leaves large files in the folder
.artifactstore-pull; the same pull goes on with them and checks them whole.

In a GLOB, * is any text within one component of a path, ** also crosses
components, and ? is one character.

` + packageWays,
		Example: `  artifactstore pull ci/webapp@1.4.2 -d ./webapp
  artifactstore pull ci/webapp:stable -d ./webapp
  artifactstore pull ci/webapp@1.4.2 --include 'docs/**' --include '*.txt'
  artifactstore pull ci/webapp@1.4.2 -d ./webapp --exact
  artifactstore pull ci/webapp@1.4.2 --file bin/run --to /usr/local/bin/
  artifactstore pull ci/webapp@1.4.2 --file report.json --to - | jq .
  artifactstore pull ci/webapp@1.4.2 -o tar | tar -t`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePackages,
	}
	flags := command.Flags()
	command.RunE = a.verb(func(ctx context.Context, args []string) error {
		o.dirGiven = flags.Changed("directory")
		return a.pull(ctx, o, args[0])
	})
	flags.StringVarP(&o.dir, "directory", "d", ".", "target folder; created if missing")
	flags.BoolVar(&o.force, "force", false, "overwrite files that differ")
	flags.StringVar(&o.expect, "expect", "", "digest (sha256:…) that the manifest must have")
	atFlag(command, &o.at)
	flags.IntVar(&o.concurrency, "concurrency", defaultConcurrency, "files fetched in parallel")
	flags.Var(&o.include, "include", "fetch only files whose path matches; may be\nrepeated")
	flags.BoolVar(&o.exact, "exact", false, "remove what the package does not have from the\nfolder, after showing it and asking")
	flags.BoolVar(&o.yes, "yes", false, "with --exact: do not ask")
	flags.StringVar(&o.file, "file", "", "fetch only the file with this path")
	flags.StringVar(&o.to, "to", "", "with --file: the file or folder to write it to, or\n- for standard output (default its base name in\nthe target folder)")
	flags.VarP(pullFormat{&a.output}, "output", "o", "table, json, yaml, or tar: the files as an archive\non standard output")
	must(command.MarkFlagDirname("directory"))
	complete(command, "output", "table", "json", "yaml", "tar")
	return command
}

// check refuses options that contradict each other.
func (o pullOptions) check(output format) error {
	switch stdout := output == formatTar || o.to == "-"; {
	case o.concurrency < 1:
		return usage("concurrency: must be at least 1, is %d", o.concurrency)
	case o.yes && !o.exact:
		return usage("--yes: requires --exact")
	case o.to != "" && o.file == "":
		return usage("--to: requires --file")
	case o.file != "" && len(o.include) > 0:
		return usage("--file and --include: only one of them is possible")
	case o.file != "" && o.exact:
		return usage("--exact: is not possible with --file")
	case o.file != "" && output == formatTar:
		return usage("--output: tar is not possible with --file")
	case o.to == "-" && output != formatTable:
		return usage("--output: is not possible with --to -, which writes the file to standard output")
	case stdout && (o.dirGiven || o.exact || o.force):
		return usage("--directory, --exact and --force: are not possible where the files go to standard output")
	case o.to != "" && o.dirGiven:
		return usage("--directory and --to: only one of them is possible")
	}
	return nil
}

// expected returns the digest that the manifest must have, zero for any.
func (o pullOptions) expected(w wanted) (digest.Digest, error) {
	if o.expect == "" {
		return w.manifest, nil
	}
	expected, err := digest.Parse(o.expect)
	if err != nil || expected.Algorithm() != digest.SHA256 {
		return expected, usage("--expect: %.80q is not of the form sha256:<64 hex digits>", o.expect)
	}
	if !w.manifest.IsZero() && w.manifest != expected {
		return expected, usage("--expect: is %s, the package is named by %s", expected, w.manifest)
	}
	return expected, nil
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
	RemovedEntries int           `json:"removedEntries,omitempty"`
}

func (a *app) pull(ctx context.Context, o pullOptions, name string) error {
	w, err := parseWanted(name)
	if err != nil {
		return err
	}
	if err := o.check(a.output); err != nil {
		return err
	}
	expected, err := o.expected(w)
	if err != nil {
		return err
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	ref, err := a.findRef(ctx, client, name, o.at)
	if err != nil {
		return err
	}
	encoded, m, err := readManifest(ctx, client, ref)
	if err != nil {
		return err
	}
	if got := manifest.Digest(encoded); !expected.IsZero() && got != expected {
		return integrity(ref.String(), "expected the manifest %s, it has %s", expected, got)
	}
	ctx = registry.WithHolder(ctx, ref.Producer)
	files, err := o.include.selectFiles(m.Files, name)
	if err != nil {
		return err
	}
	part := &manifest.Manifest{Files: files, Links: m.Links, Folders: m.Folders}
	if len(o.include) > 0 {
		part.Links, part.Folders = o.include.selectRest(m)
	}
	if o.file != "" {
		f, err := oneFile(m, o.file, name)
		if err != nil {
			return err
		}
		if o.to == "-" {
			return a.pullToStdout(ctx, client, f)
		}
		if o.dir, f.Path, err = placeOf(o); err != nil {
			return err
		}
		part = &manifest.Manifest{Files: []manifest.File{f}}
	}
	if a.output == formatTar {
		return a.pullTar(ctx, client, part, o.concurrency)
	}
	result := pulled{PackageRef: ref, ManifestDigest: manifest.Digest(encoded), Directory: o.dir, Links: len(part.Links), EmptyFolders: part.EmptyFolders()}
	if err := a.pullInto(ctx, client, o, m, part, &result); err != nil {
		return err
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
		if o.exact {
			field(w, "removed", counted(result.RemovedEntries, "entry", "entries"))
		}
	})
}

// pullInto makes the folder have a part of the package, or all of it. What can be refused
// is refused before anything is changed.
func (a *app) pullInto(ctx context.Context, blobs registry.Blobs, o pullOptions, all, part *manifest.Manifest, result *pulled) (err error) {
	files := part.Files
	target, err := openTarget(o.dir)
	if err != nil {
		return err
	}
	target.patience = a.patience()
	defer func() {
		if kept := target.close(err == nil); kept > 0 {
			err = &keptError{err, fmt.Sprintf("%s of unfinished files are kept in %s: run the same command again to go on",
				sizeText(kept), target.display(stagingPrefix))}
		}
	}()
	links, err := target.checkExtras(part, o.force)
	if err != nil {
		return err
	}
	comparing := a.meter("comparing", sizeOf(files))
	missing, err := target.compare(ctx, files, o.force, comparing)
	comparing.finish()
	if differs, is := errors.AsType[*differsError](err); is {
		for _, line := range differs.lines() {
			fmt.Fprintln(a.stderr, printable(line))
		}
	}
	if err != nil {
		return err
	}
	if len(missing) > 0 || len(links) > 0 || len(part.Folders) > 0 || target.unfinished() {
		if err := target.stage(missing, namesOf(all)); err != nil {
			return err
		}
		notes, err := target.checkNames(namesOf(part))
		for _, note := range notes {
			fmt.Fprintln(a.stderr, printable(note))
		}
		if err != nil {
			return err
		}
		if err := target.checkSpace(missing); err != nil {
			return err
		}
	}
	var extras []string
	if o.exact {
		if extras, err = target.extras(all); err != nil {
			return err
		}
		if len(extras) > 0 {
			if err := a.confirm(ctx, target, extras, o.yes); err != nil {
				return err
			}
		}
	}
	if err := target.correctModes(); err != nil {
		return err
	}
	if err := target.makeFolders(part.Folders); err != nil {
		return err
	}
	progress := a.meter("fetching", sizeOf(missing)).of(len(missing))
	err = target.fetch(ctx, blobs, missing, o.concurrency, progress)
	progress.finish()
	if err != nil {
		return err
	}
	if err := target.removeExtras(extras); err != nil {
		return err
	}
	if err := target.finish(links, part.Folders); err != nil {
		return err
	}
	result.Files, result.Bytes = len(files), sizeOf(files)
	result.FetchedFiles, result.FetchedBytes = len(missing), sizeOf(missing)
	result.KeptFiles, result.RemovedEntries = len(files)-len(missing), len(extras)
	return nil
}

// namesOf are all names that the part has, as files.
func namesOf(part *manifest.Manifest) []manifest.File {
	names := slices.Clone(part.Files)
	for _, l := range part.Links {
		names = append(names, manifest.File{Path: l.Path})
	}
	for _, f := range part.Folders {
		names = append(names, manifest.File{Path: f.Path})
	}
	return names
}

func sizeOf(files []manifest.File) (sum int64) {
	for _, f := range files {
		sum += f.Size
	}
	return sum
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
